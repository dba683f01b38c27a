"""Training's progress in words, the most important first, cut to the width that there is."""

import math
import statistics
import time
from collections.abc import Sequence
from typing import Any

# How much the newest epoch counts: members leave the pack, so old epochs say too much; the first
# one, which compiles and captures, is forgotten after a few.
_NEWEST = 0.3
_GIB = 2**30


class Pace:
    """How long an epoch takes, smoothed, and what is left of the training at most.

    At most, because members may stop before the last epoch.
    """

    def __init__(self) -> None:
        self.epoch = self.epochs = 0
        self._epoch_s: float | None = None
        self._step = self._n_steps = self._first_step = 0
        self._first_at_s = 0.0

    def note(self, report: dict[str, Any]) -> None:
        """Learn from an epoch's report."""
        seconds, before = report["seconds"], self._epoch_s
        self._epoch_s = seconds if before is None else before + _NEWEST * (seconds - before)
        self.epoch, self.epochs = report["epoch"], report["epochs"]

    def note_step(self, step: int, n_steps: int) -> None:
        """Learn that a step of an epoch, or a piece of work, is done.

        It is the first of another epoch where the number did not grow.
        """
        if step <= self._step or n_steps != self._n_steps:
            self._first_step, self._first_at_s = step, time.monotonic()
        self._step, self._n_steps = step, n_steps

    @property
    def steps_left_s(self) -> float | None:
        """Return the seconds until the last step or piece of work, None before the second one."""
        done = self._step - self._first_step
        if done == 0:
            return None
        return (self._n_steps - self._step) * (time.monotonic() - self._first_at_s) / done

    @property
    def left_s(self) -> float:
        """Return the seconds until the last epoch is done, at most."""
        return (self.epochs - self.epoch) * (self._epoch_s or 0.0)

    @property
    def words(self) -> str:
        """Return the last epoch that is done as `3/100`."""
        return self.words_of(self.epoch)

    def words_of(self, epoch: int) -> str:
        """Return an epoch as `3/100`, or `3` while nobody has said how many there are."""
        return f"{epoch}/{self.epochs}" if self.epochs else str(epoch)


def epoch_lines(report: dict[str, Any]) -> list[list[str]]:
    """Return an epoch's numbers in words, line by line, the most important of a line first."""
    own = _token_lines(report) if "tokens_per_s" in report else [epoch_parts(report)]
    return [line for line in (*own, gpu_parts(report)) if line]


def epoch_parts(report: dict[str, Any]) -> list[str]:
    """Return an epoch's members, losses, speed and memory in words."""
    members = report["members"]
    return [
        f"{len(members)} member{'' if len(members) == 1 else 's'}",
        _losses(members),
        f"{report['rows_per_s']:,.0f} rows/s",
        *_memory(report),
    ]


def _token_lines(report: dict[str, Any]) -> list[list[str]]:
    """Return what a model of tokens learned, and how fast against what its device can do."""
    member = report["members"][0]
    accuracy, constant = (100 * report[key] for key in ("accuracy", "constant_accuracy"))
    return [
        [
            f"loss {_loss(member['train_loss'])}",
            f"validation {_loss(member['validation_loss'])}{_its_best(member)}",
            f"accuracy {accuracy:.2f} % (constant {constant:.2f} %)",
        ],
        [
            f"{report['tokens_per_s']:,.0f} tokens/s",
            *_shares(report),
            *_memory(report),
            f"learning rate {report['learning_rate']:.1e}",
        ],
    ]


def gpu_parts(report: dict[str, Any]) -> list[str]:
    """Return what the report knows of the GPU in words; nothing on a CPU."""
    parts = []
    if "gpu_utilisation_frac" in report:
        parts.append(f"GPU {100 * report['gpu_utilisation_frac']:.0f} % busy")
    if "gpu_memory_bytes" in report:
        total = report.get("gpu_memory_total_bytes")
        of_all = "" if total is None else f" of {total / _GIB:.1f}"
        parts.append(f"GPU memory {report['gpu_memory_bytes'] / _GIB:.1f}{of_all} GiB")
    if "gpu_temperature_c" in report:
        parts.append(f"{report['gpu_temperature_c']:.0f} °C")
    return parts


def fitted(parts: Sequence[str], width: int) -> str:
    """Return as many of the first parts as fit into `width` characters, the first one cut."""
    line = ""
    for part in parts:
        longer = f"{line}, {part}" if line else part
        if len(longer) > width:
            break
        line = longer
    if line or not parts:
        return line
    return f"{parts[0][: max(width - 1, 0)]}…" if width > 0 else ""


def duration(seconds: float) -> str:
    """Return seconds as `1:02:03` or `2:03`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def _shares(report: dict[str, Any]) -> list[str]:
    """Return the shares of the device; a CPU's peak is not known, so that it has no MFU."""
    mfu, roof = report["mfu_frac"], report["roof_frac"]
    # Beside other work the rate of the matrix product that makes the roof comes out too low.
    told = f"{100 * roof:.0f} % of roof" if roof <= 1 else "roof measured too low"
    return [*([] if mfu is None else [f"{100 * mfu:.0f} % MFU"]), told]


def _memory(report: dict[str, Any]) -> list[str]:
    return [f"{report['memory_bytes'] / _GIB:.1f} GiB"] if "memory_bytes" in report else []


def _loss(loss: float | None) -> str:
    return f"{loss:.4f}" if loss is not None and math.isfinite(loss) else "not finite"


def _its_best(member: dict[str, Any]) -> str:
    return ", its best" if member.get("best") else ""


def _losses(members: list[dict[str, Any]]) -> str:
    losses = [line["validation_loss"] for line in members]
    finite = [loss for loss in losses if loss is not None and math.isfinite(loss)]
    if not finite:
        return "no finite validation loss"
    if len(members) == 1:
        return f"validation loss {finite[0]:.4f}{_its_best(members[0])}"
    return f"validation loss {min(finite):.4f} lowest, {statistics.median(finite):.4f} median"
