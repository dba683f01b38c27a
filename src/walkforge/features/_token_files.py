"""A tokenizer as two files: what it learned, and where from."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from walkforge.base import (
    FeatureError,
    RunError,
    UsageError,
    atomic_path,
    read_json,
    utc_text,
    write_json,
)

from ._token_rule import VECTOR, TokenizerRule
from ._tokenizer import KINDS, Tokenizer

_DESCRIPTION, _ARRAYS = "tokenizer.json", "tokenizer.safetensors"


def write_tokenizer(folder: Path, tokenizer: Tokenizer) -> None:
    """Write `tokenizer.safetensors` and `tokenizer.json` into a folder, in place of older ones."""
    from safetensors.numpy import save_file

    with atomic_path(folder / _ARRAYS) as temporary:
        save_file(tokenizer.arrays(), temporary)
    from_ms, to_ms = tokenizer.fitted
    write_json(
        folder / _DESCRIPTION,
        {
            "rule": asdict(tokenizer.rule),
            "vector": VECTOR,
            "vocabulary": tokenizer.vocabulary,
            "fitted": {
                "from_ms": from_ms,
                "to_ms": to_ms,
                "from": utc_text(from_ms),
                "to": utc_text(to_ms),
            },
            "digest": tokenizer.digest,
        },
    )


def read_tokenizer(folder: Path) -> Tokenizer:
    """Return the tokenizer of a folder, the same to the last bit.

    Raises FeatureError where a file is missing or damaged, or the two do not belong together.
    """
    description, arrays = _description(folder / _DESCRIPTION), _arrays(folder / _ARRAYS)
    try:
        tokenizer = _tokenizer(description, arrays)
        told = str(description["digest"])
    except (KeyError, TypeError, ValueError, UsageError) as error:
        raise FeatureError(f"{folder}: no tokenizer that can be used here ({error})") from None
    if (found := tokenizer.digest) != told:
        raise FeatureError(
            f"{folder}: the digest of its tokenizer is {found[:12]}..., {_DESCRIPTION} says "
            f"{told[:12]}...; a file was changed, cut off or taken from another tokenizer"
        )
    return tokenizer


def _tokenizer(
    description: Mapping[str, Any], arrays: Mapping[str, NDArray[np.float32]]
) -> Tokenizer:
    told = dict(description["rule"])
    bins = told["bins"] and tuple(told["bins"])
    rule = TokenizerRule(**{**told, "bins": bins})
    fitted = (int(description["fitted"]["from_ms"]), int(description["fitted"]["to_ms"]))
    _, from_arrays = KINDS[rule.kind]
    return Tokenizer(rule, fitted, arrays["limits"], from_arrays(arrays))


def _description(path: Path) -> dict[str, Any]:
    try:
        description = read_json(path)
    except RunError as error:
        raise FeatureError(f"{error}; expected the description of a tokenizer") from None
    if not isinstance(description, dict):
        raise FeatureError(f"{path}: not the description of a tokenizer")
    return description


def _arrays(path: Path) -> dict[str, NDArray[np.float32]]:
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise FeatureError(f"{path}: the arrays of a tokenizer cannot be read ({error})") from None
