"""A training that was cut off goes on from here: tensors as safetensors, the rest as JSON in it."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from walkforge.base import TrainingError, atomic_path

_KEY = "walkforge"
_KEPT = 2


@dataclass(frozen=True, slots=True)
class Checkpoints:
    """The folder of a training's checkpoints, one file per epoch, of which the last two stay."""

    folder: Path

    def write(self, epoch: int, tensors: dict[str, Tensor], plain: dict[str, Any]) -> None:
        """Write an epoch's state as one file, atomically, then let the oldest go."""
        from safetensors.torch import save_file

        with atomic_path(self.folder / f"epoch_{epoch:05d}.safetensors") as temporary:
            whole = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
            save_file(whole, temporary, metadata={_KEY: json.dumps(plain)})
        for path in self._paths()[:-_KEPT]:
            path.unlink()

    def read_newest(
        self, members: list[str], note: Callable[[str], None]
    ) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        """Return tensors and plain data of the newest file that is whole, None where none is there.

        Raises TrainingError where all are damaged, or are of other members.
        """
        damaged = []
        for path in reversed(self._paths()):
            try:
                tensors, plain = _read(path)
            except TrainingError as error:
                damaged.append(str(error))
                continue
            _refuse_others(path, plain, members)
            for words in damaged:
                note(f"{words}; going on from {path.name}")
            return tensors, plain
        if damaged:
            raise TrainingError(f"{damaged[0]}; delete {self.folder} to train from the start")
        return None

    def _paths(self) -> list[Path]:
        return sorted(self.folder.glob("epoch_*.safetensors"))


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            plain = json.loads(file.metadata()[_KEY])
            return {name: file.get_tensor(name) for name in file.keys()}, plain  # noqa: SIM118
    except (SafetensorError, KeyError, TypeError, OSError, json.JSONDecodeError) as error:
        raise TrainingError(f"{path}: not a readable checkpoint ({error})") from None


def _refuse_others(path: Path, plain: dict[str, Any], members: list[str]) -> None:
    if sorted(plain["history"]) != sorted(members):
        raise TrainingError(
            f"{path}: holds {len(plain['history'])} other members than this study's "
            f"{len(members)}; the study or its bars have changed. Start a new run."
        )
