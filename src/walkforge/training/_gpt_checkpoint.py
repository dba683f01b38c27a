"""A MarketGPT's training that was cut off goes on from here, and its best weights lie here.

checkpoint_epoch_3.safetensors   all that training needs; the newest two stay
best_model.safetensors           the weights of the best epoch so far
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from walkforge.base import TrainingError, atomic_path

_KEY = "walkforge"
_KEPT = 2
_NAME = "checkpoint_epoch_"


@dataclass(frozen=True, slots=True)
class GptCheckpoints:
    """The folder of one training's checkpoints; plain data lie as JSON in each file's head."""

    folder: Path

    def write(self, epoch: int, tensors: dict[str, Tensor], plain: dict[str, Any]) -> None:
        """Write an epoch's state as one file, atomically, then let the oldest go."""
        _write(self.folder / f"{_NAME}{epoch}.safetensors", tensors, plain)
        for path in self._paths()[:-_KEPT]:
            path.unlink()

    def write_best(self, state: dict[str, Tensor], plain: dict[str, Any]) -> None:
        """Write the best weights so far in place of those before."""
        _write(self.folder / "best_model.safetensors", state, plain)

    def read_newest(
        self, identity: str, note: Callable[[str], None]
    ) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        """Return tensors and plain data of the newest whole file, None where none is there.

        Raises TrainingError where all are damaged, or the newest belongs to another training.
        """
        damaged = []
        for path in reversed(self._paths()):
            try:
                tensors, plain = _read(path)
            except TrainingError as error:
                damaged.append(str(error))
                continue
            if plain["identity"] != identity:
                raise TrainingError(
                    f"{path}: belongs to another model, plan, seed or table of tokens; the study "
                    "or its bars have changed. Start a new run."
                )
            for words in damaged:
                note(f"{words}; going on from {path.name}")
            return tensors, plain
        if damaged:
            raise TrainingError(f"{damaged[0]}; delete {self.folder} to train from the start")
        return None

    def _paths(self) -> list[Path]:
        found = self.folder.glob(f"{_NAME}*.safetensors")
        return sorted(found, key=lambda path: int(path.stem.removeprefix(_NAME)))


def _write(path: Path, tensors: dict[str, Tensor], plain: dict[str, Any]) -> None:
    from safetensors.torch import save_file

    whole = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    with atomic_path(path) as temporary:
        save_file(whole, temporary, metadata={_KEY: json.dumps(plain)})


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            plain = json.loads(file.metadata()[_KEY])
            return {name: file.get_tensor(name) for name in file.keys()}, plain  # noqa: SIM118
    except (SafetensorError, KeyError, TypeError, OSError, json.JSONDecodeError) as error:
        raise TrainingError(f"{path}: not a readable checkpoint ({error})") from None
