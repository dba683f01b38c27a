"""What a device can do, measured, and the speed of a step that nothing else holds up."""

import time
from collections.abc import Callable

import torch
from _gpt_cases import Setting

from walkforge.base import Precision
from walkforge.models import GptShape, gpt_parameters
from walkforge.training import flops_per_token

_MIB = 2**20


def matrix_rate(device: torch.device, precision: Precision, seconds: float) -> float:
    """Return operations per second of a large matrix product."""
    size = 8192 if device.type == "cuda" else 2048
    kind = getattr(torch, precision.name)
    a, b, out = (torch.randn(size, size, device=device).to(kind) for _ in range(3))
    return 2.0 * size**3 * _per_s(lambda: torch.mm(a, b, out=out), device, seconds)


def memory_rate(device: torch.device, seconds: float) -> float:
    """Return bytes per second, read and written, of a copy that no cache holds."""
    n_bytes = (1024 if device.type == "cuda" else 256) * _MIB
    a, b = (torch.ones(n_bytes // 4, device=device) for _ in range(2))
    return 2.0 * n_bytes * _per_s(lambda: b.copy_(a), device, seconds)


def wait_for(device: torch.device) -> None:
    """Wait until the device has done everything."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def roof_tokens_per_s(setting: Setting, matrix_rate: float, memory_rate: float) -> float:
    """Return the tokens/s of a step that nothing but arithmetic and memory holds up."""
    n_tokens = setting.step_tokens
    number_bytes = 2 if setting.precision.autocast else 4
    arithmetic_s = n_tokens * flops_per_token(setting.shape) / matrix_rate
    traffic_s = bytes_per_step(setting.shape, n_tokens, number_bytes) / memory_rate
    return n_tokens / (arithmetic_s + traffic_s)


def bytes_per_step(shape: GptShape, n_tokens: int, number_bytes: int) -> float:
    """Return what a step reads and writes at least, if no cache held anything between kernels.

    Forwards, in a block and for each token, numbers of `number_bytes` read + written, D the width
    and F that of the feed-forward part: products of queries, keys and values 4 D, attention 4 D
    (positions turned within), product after it 3 D (added to the stream within), two norms 4 D,
    products up D + F and down F + 2 D, activation 2 F; 18 D + 4 F together. Backwards takes twice
    that, as each product has two products behind it. Logits are written, read by the loss there
    and back, and their gradient is written and read twice: 6 V. For each weight: read by products
    there and back; gradient written, read for its norm, and AdamW's four numbers read and three
    written, in 4 bytes. Rounded to 1 % that gives an H100 of 790 TFLOP/s and 3.0 TB/s 6.8, 2.0 and
    0.74 million tokens/s in the cases C, B and A, weights left out.
    """
    per_block = 18 * shape.d_model + 4 * shape.d_ff
    per_token = 3 * shape.layers * per_block + 6 * shape.vocabulary
    per_weight = 2 * number_bytes + 4 * (1 + 1 + 4 + 3)
    n_weights = sum(gpt_parameters(shape).values())
    return float(n_tokens * per_token * number_bytes + n_weights * per_weight)


def _per_s(act: Callable[[], object], device: torch.device, seconds: float) -> float:
    act()
    wait_for(device)
    n_times, started = 0, time.perf_counter()
    while (taken := time.perf_counter() - started) < seconds:
        act()
        wait_for(device)
        n_times += 1
    return n_times / taken
