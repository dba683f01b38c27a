"""Which device and precision training uses, each with the reason. torch is imported on use."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ._errors import UsageError

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, slots=True)
class Precision:
    """The type that matrix products are computed in, and whether autocast brings them there."""

    name: str  # "float32", "bfloat16" or "float16"
    autocast: bool
    tf32: bool

    @property
    def scales_losses(self) -> bool:
        """Return whether gradients need a scale, as float16 has few small numbers."""
        return self.name == "float16"


def choose_device(wanted: str) -> tuple[torch.device, str]:
    """Return the device for `auto`, `cpu`, `cuda` or `cuda:n`, and why it was chosen.

    Raises UsageError for another word, or for a CUDA device that is not there.
    """
    import torch

    if wanted == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda", 0), f"CUDA device {torch.cuda.get_device_name(0)} is there"
        return torch.device("cpu"), "no CUDA device is there"
    if wanted == "cpu":
        return torch.device("cpu"), "asked for"
    name, _, number = wanted.partition(":")
    if name != "cuda" or (":" in wanted and not number.isdigit()):
        raise UsageError(
            f"unknown device {wanted!r}; choose auto, cpu, cuda or cuda:0, cuda:1, ..."
        )
    index = int(number or 0)
    if index >= torch.cuda.device_count():
        raise UsageError(
            f"device {wanted!r}: this machine has {torch.cuda.device_count()} CUDA devices; "
            "choose auto or cpu"
        )
    return torch.device("cuda", index), "asked for"


def choose_precision(wanted: str, device: torch.device) -> tuple[Precision, str]:
    """Return the precision for `auto`, `float32`, `bfloat16` or `float16`, and why."""
    import torch

    on_cuda = device.type == "cuda"
    if wanted == "auto":
        if on_cuda and torch.cuda.is_bf16_supported(including_emulation=False):
            return Precision("bfloat16", True, True), "this GPU computes bfloat16 natively"
        if on_cuda:
            return Precision("float16", True, True), "this GPU has no native bfloat16"
        return Precision("float32", False, False), "on the CPU float32 is fastest and exact"
    if wanted == "float32":
        return Precision("float32", False, False), "asked for"
    if wanted in ("bfloat16", "float16"):
        return Precision(wanted, True, on_cuda), "asked for"
    raise UsageError(f"unknown precision {wanted!r}; choose auto, float32, bfloat16 or float16")
