"""A training that was cut off goes on from here: tensors as safetensors, the rest as JSON in it."""

import json
from pathlib import Path
from typing import Any

from torch import Tensor

from walkforge.base import TrainingError, atomic_path

_KEY = "walkforge"


def write_checkpoint(path: Path, tensors: dict[str, Tensor], plain: dict[str, Any]) -> None:
    """Write tensors and plain data as one file, atomically."""
    from safetensors.torch import save_file

    with atomic_path(path) as temporary:
        whole = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
        save_file(whole, temporary, metadata={_KEY: json.dumps(plain)})


def read_checkpoint(path: Path, members: list[str]) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return tensors and plain data; raise TrainingError if it is damaged or of other members."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            plain = json.loads(file.metadata()[_KEY])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, KeyError, TypeError, json.JSONDecodeError) as error:
        raise TrainingError(
            f"{path}: not a readable checkpoint ({error}); delete it to train from the start"
        ) from None
    if sorted(plain["history"]) != sorted(members):
        raise TrainingError(
            f"{path}: holds {len(plain['history'])} other members than this study's "
            f"{len(members)}; the study or its bars have changed. Start a new run."
        )
    return tensors, plain
