"""Training's progress in words, the most important first, cut to the width that there is."""

import math
import statistics
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

    def note(self, report: dict[str, Any]) -> None:
        """Learn from an epoch's report."""
        seconds, before = report["seconds"], self._epoch_s
        self._epoch_s = seconds if before is None else before + _NEWEST * (seconds - before)
        self.epoch, self.epochs = report["epoch"], report["epochs"]

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


def epoch_parts(report: dict[str, Any]) -> list[str]:
    """Return an epoch's members, losses, speed and memory in words."""
    members = report["members"]
    return [
        f"{len(members)} member{'' if len(members) == 1 else 's'}",
        _losses(members),
        f"{report['rows_per_s']:,.0f} rows/s",
        *([f"{report['memory_bytes'] / _GIB:.1f} GiB"] if "memory_bytes" in report else []),
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


def _losses(members: list[dict[str, Any]]) -> str:
    losses = [line["validation_loss"] for line in members]
    finite = [loss for loss in losses if loss is not None and math.isfinite(loss)]
    if not finite:
        return "no finite validation loss"
    if len(members) == 1:
        return f"validation loss {finite[0]:.4f}{', its best' if members[0].get('best') else ''}"
    return f"validation loss {min(finite):.4f} lowest, {statistics.median(finite):.4f} median"
