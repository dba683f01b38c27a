"""How fast a MarketGPT trains, against what its device can do."""

from functools import lru_cache
from time import perf_counter

import torch

from walkforge.base import Precision
from walkforge.models import GptShape, gpt_parameters

from ._device import products_in

# Dense 16-bit products with sums in float32, as the makers' data sheets give them, by what
# torch.cuda.get_device_name contains; the first that fits counts.
_PEAK_TFLOPS = {
    "NVIDIA B200": 2250.0,
    "H200 NVL": 835.0,
    "H200": 989.4,
    "H100 NVL": 835.0,
    "H100 PCIe": 756.0,
    "H100": 989.4,
    "A100": 312.0,
    "A40": 149.7,
    "L40S": 362.0,
    "L40": 181.0,
    "L4": 121.0,
    "V100-SXM2": 125.0,
    "V100-PCIE": 112.0,
    "Tesla T4": 65.0,
}
_LONGEST_S = 0.2


class Roof:
    """What a training is measured against on so many devices like this one."""

    def __init__(
        self, shape: GptShape, device: torch.device, precision: Precision, n_devices: int
    ) -> None:
        self._flops_each = flops_per_token(shape) / n_devices
        self._peak = peak_flops(device, precision)
        self._on = device, precision

    def shares(self, tokens_per_s: float) -> dict[str, float | None]:
        """Return `tokens_per_s` with its share of the devices' peak and of their measured rate.

        `mfu_frac` is None where the peak is not known, as on a CPU.
        """
        flops = tokens_per_s * self._flops_each
        return {
            "tokens_per_s": tokens_per_s,
            "mfu_frac": None if self._peak is None else flops / self._peak,
            "roof_frac": flops / self._measured(flops),
        }

    def _measured(self, reached: float) -> float:
        """Return the measured rate, measured again where other programs slowed it down before."""
        rate = measured_flops(*self._on)
        if rate < reached:
            measured_flops.cache_clear()
            rate = max(rate, measured_flops(*self._on))
        return rate


def flops_per_token(shape: GptShape) -> float:
    """Return the operations that learning from one token takes, forward and backward.

    6 for each number of a matrix that every token is multiplied with (Kaplan et al. 2020,
    "Scaling laws for neural language models"), the head being one of them even where it is tied;
    and 6 x layers x width x context for attention: half of the 12 that Chowdhery et al. 2022
    ("PaLM", appendix B) count, as a token has only half the context before it on average. What
    gradient checkpointing computes again is no progress, and not counted.
    """
    parts = gpt_parameters(shape)
    head = shape.vocabulary * shape.d_model
    matrices = parts["attention"] + parts["feed_forward"] + head
    return 6.0 * matrices + 6.0 * shape.layers * shape.d_model * shape.context


def peak_flops(device: torch.device, precision: Precision) -> float | None:
    """Return the device's peak per second in this precision; None where that is not known."""
    if device.type != "cuda" or precision.name == "float32":
        return None
    name = torch.cuda.get_device_name(device)
    if "MIG" in name:  # a part of a device
        return None
    known = [1e12 * tflops for part, tflops in _PEAK_TFLOPS.items() if part in name]
    return known[0] if known else None


@lru_cache
def measured_flops(device: torch.device, precision: Precision) -> float:
    """Return the rate of a large matrix product on this device, measured once in a process."""
    size = 8192 if device.type == "cuda" else 768
    dtype = getattr(torch, precision.name) if precision.autocast else torch.float32
    left, right = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
    with products_in(precision), torch.no_grad():
        _seconds(left, right)  # the first one sets libraries up
        fastest = taken = _seconds(left, right)
        while taken < _LONGEST_S:
            seconds = _seconds(left, right)
            fastest, taken = min(fastest, seconds), taken + seconds
    return 2.0 * size**3 / fastest


def _seconds(left: torch.Tensor, right: torch.Tensor) -> float:
    started = perf_counter()
    torch.mm(left, right)
    if left.device.type == "cuda":
        torch.cuda.synchronize(left.device)
    return perf_counter() - started
