"""State of a training in one file: tensors as safetensors, plain data as JSON in its head."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from walkforge.base import TrainingError, atomic_path

_KEY = "walkforge"

State = tuple[dict[str, Tensor], dict[str, Any]]


def write_state(path: Path, tensors: dict[str, Tensor], plain: dict[str, Any]) -> None:
    """Write a file, whole or not at all."""
    from safetensors.torch import save_file

    with atomic_path(path) as temporary:
        whole = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
        save_file(whole, temporary, metadata={_KEY: json.dumps(plain)})


def read_newest_state(
    paths: Sequence[Path],
    note: Callable[[str], None],
    *,
    refuse_others: Callable[[Path, dict[str, Any]], None],
) -> State | None:
    """Return the last of these files that is whole, None where there are none.

    `refuse_others` is told its path and plain data, and raises where it belongs to another
    training. Raises TrainingError where all are damaged.
    """
    damaged = []
    for path in reversed(paths):
        try:
            tensors, plain = _read(path)
        except TrainingError as error:
            damaged.append(str(error))
            continue
        refuse_others(path, plain)
        for words in damaged:
            note(f"{words}; going on from {path.name}")
        return tensors, plain
    if damaged:
        raise TrainingError(f"{damaged[0]}; delete {paths[0].parent} to train from the start")
    return None


def _read(path: Path) -> State:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            plain = json.loads(file.metadata()[_KEY])
            return {name: file.get_tensor(name) for name in file.keys()}, plain  # noqa: SIM118
    except (SafetensorError, KeyError, TypeError, OSError, json.JSONDecodeError) as error:
        raise TrainingError(f"{path}: not a readable checkpoint ({error})") from None
