"""Recurrent walks that keep each lane's recurrent weights on the chip for all steps.

A batched walk reads every recurrent weight once per step and starts a dozen kernels for it; here
one kernel reads them once and takes all steps. Same arguments and results as the batched walks,
which stay for what does not fit, as `resident_supports` says. Triton is imported with the first
walk.

All tensors are contiguous, on one CUDA device, in one type (float32, bfloat16, float16), cells
aside; under Triton's interpreter they may lie on the CPU.

Shapes: L lanes (one member and direction each), T steps, B rows, H hidden, S = T + 1 states,
G gates (LSTM 4 H: input, forget, new, output; GRU 2 H: reset, update)
"""

import importlib.util
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor

_MOST_HIDDEN = 128
_TILES = {"lstm": 4, "gru": 3}
_DTYPES = (torch.float32, torch.bfloat16, torch.float16)
_ROWS = 16
"""Rows of a program: the fewest that tensor cores multiply."""
_MANY_ROWS = 32

# By bytes of a number and padded hidden size: as few warps as keep every kernel's numbers in
# registers when compiled for sm_90 (255 a thread up to 8 warps, 128 with 16). Each warp of the
# 16-bit kernels owns 8 or 16 columns of a tile; more warps than columns would repeat the work.
_WARPS = {2: {16: 1, 32: 4, 64: 4, 128: 8}, 4: {16: 2, 32: 4, 64: 8, 128: 16}}

Walks = tuple[Callable[..., tuple[Tensor, ...]], Callable[..., Any]]


def lstm_walk(gates_LTBG: Tensor, hidden_LHG: Tensor) -> tuple[Tensor, Tensor]:
    """Return states_LSBH and cells_LSBH (float32); turns pre-activations into gates, in place.

    On entry `gates_LTBG` holds the products with the inputs and all biases.
    """
    lanes, steps, rows, width = gates_LTBG.shape
    states = gates_LTBG.new_empty(lanes, steps + 1, rows, width // 4)
    cells = torch.empty_like(states, dtype=torch.float32)
    _launch("lstm_walk", gates_LTBG, [hidden_LHG, states, cells], hidden=width // 4)
    return states, cells


def lstm_walk_back(
    gates_LTBG: Tensor,
    cells_LSBH: Tensor,
    hidden_LHG: Tensor,
    d_states_LTBH: Tensor | None,
    d_last_LBH: Tensor | None,
) -> Tensor:
    """Return d_gates_LTBG, the gradients with regard to the pre-activations.

    A gradient that is None counts as zero.
    """
    d_gates = torch.empty_like(gates_LTBG)
    others = [cells_LSBH, hidden_LHG, *_or_any(d_states_LTBH, d_last_LBH, gates_LTBG), d_gates]
    flags = {"D_STATES": d_states_LTBH is not None, "D_LAST": d_last_LBH is not None}
    _launch("lstm_walk_back", gates_LTBG, others, hidden=cells_LSBH.shape[-1], **flags)
    return d_gates


def gru_walk(
    gates_LTBG: Tensor,
    news_LTBH: Tensor,
    hidden_gates_LHG: Tensor,
    hidden_new_LHH: Tensor,
    recalled_bias_L1H: Tensor,
) -> tuple[Tensor, Tensor]:
    """Return states_LSBH and recalled_LTBH (h W_q + b_q); activates gates and news in place."""
    assert news_LTBH.is_contiguous()
    lanes, steps, rows, hidden = news_LTBH.shape
    states = news_LTBH.new_empty(lanes, steps + 1, rows, hidden)
    recalled = torch.empty_like(news_LTBH)
    weights = [hidden_gates_LHG, hidden_new_LHH, recalled_bias_L1H]
    _launch("gru_walk", gates_LTBG, [news_LTBH, *weights, states, recalled], hidden=hidden)
    return states, recalled


def gru_walk_back(
    gates_LTBG: Tensor,
    news_LTBH: Tensor,
    recalled_LTBH: Tensor,
    states_LSBH: Tensor,
    hidden_gates_LHG: Tensor,
    hidden_new_LHH: Tensor,
    d_states_LTBH: Tensor | None,
    d_last_LBH: Tensor | None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return d_gates_LTBG, d_news_LTBH (of pre-activations) and d_recalled_LTBH.

    A gradient that is None counts as zero.
    """
    d_gates, d_news, d_recalled = map(torch.empty_like, (gates_LTBG, news_LTBH, recalled_LTBH))
    kept = [news_LTBH, recalled_LTBH, states_LSBH, hidden_gates_LHG, hidden_new_LHH]
    given = _or_any(d_states_LTBH, d_last_LBH, gates_LTBG)
    flags = {"D_STATES": d_states_LTBH is not None, "D_LAST": d_last_LBH is not None}
    others = [*kept, *given, d_gates, d_news, d_recalled]
    _launch("gru_walk_back", gates_LTBG, others, hidden=news_LTBH.shape[-1], **flags)
    return d_gates, d_news, d_recalled


def resident_supports(
    kind: str, *, hidden: int, dtype: torch.dtype, device: torch.device
) -> tuple[bool, str]:
    """Return whether the walks of `kind` ("lstm" or "gru") can run resident, and why (not)."""
    if hidden > _MOST_HIDDEN:
        return False, f"hidden {hidden} is more than the resident kernels' {_MOST_HIDDEN}"
    if dtype not in _DTYPES:
        return False, f"resident kernels compute no {_name(dtype)}"
    if device.type != "cuda" or not torch.cuda.is_available() or torch.version.cuda is None:
        return False, f"resident kernels need a CUDA device, found {device.type}"
    if torch.cuda.get_device_capability(device) < (8, 0):
        return False, "resident kernels need compute capability 8.0 or newer"
    if importlib.util.find_spec("triton") is None:
        return False, "triton is not installed"
    needed = shared_bytes(kind, hidden=hidden, dtype=dtype)
    _, there = _chip(device)
    sizes = f"{needed / 1024:.0f} KiB of {there / 1024:.0f} KiB of shared memory"
    if needed > there:
        return False, f"{_name(dtype)} weights of hidden {hidden} need {sizes}"
    return True, f"{_name(dtype)} weights of hidden {hidden} fit on the chip: {sizes}"


def shared_bytes(kind: str, *, hidden: int, dtype: torch.dtype, rows: int = _ROWS) -> int:
    """Return the most shared memory that a walk takes, in bytes.

    Its weights, the left side of every product, and one tile more and a KiB, which older versions
    of Triton use to change layouts.
    """
    padded, n_tiles = padded_width(hidden), _TILES[kind]
    return (n_tiles * padded + (n_tiles + 1) * rows) * padded * dtype.itemsize + 1024


RESIDENT: dict[str, Walks] = {
    "lstm": (lstm_walk, lstm_walk_back),
    "gru": (gru_walk, gru_walk_back),
}


def _launch(name: str, gates: Tensor, others: list[Tensor], *, hidden: int, **flags: bool) -> None:
    """Run a kernel of this name: a program for every lane and block of rows."""
    from . import _resident_kernels

    kernel = getattr(_resident_kernels, f"{name}_kernel")
    interpreted = type(kernel).__name__ == "InterpretedFunction"
    lanes, steps, rows, _ = gates.shape
    kind, dtype, chip = name.split("_")[0], gates.dtype, _chip(gates.device)
    block, warps = program_size(kind, lanes=lanes, rows=rows, hidden=hidden, dtype=dtype, chip=chip)
    # Weights and gradients come as views; what is written in place, or kept for the way back, does
    # not, and a copy of it would be written for nothing.
    assert gates.is_contiguous()
    tensors = [gates, *(tensor.contiguous() for tensor in others)]
    with on_device(gates.device):
        kernel[(lanes, -(-rows // block))](
            *tensors,
            steps,
            rows,
            H=hidden,
            HP=padded_width(hidden),
            ROWS=block,
            PRECISION="widened" if interpreted else _precision(dtype),
            num_warps=warps,
            # Tiles of weights stay; with more stages Triton would buffer what is read in the loop.
            num_stages=1,
            **flags,
        )


def program_size(
    kind: str, *, lanes: int, rows: int, hidden: int, dtype: torch.dtype, chip: tuple[int, int]
) -> tuple[int, int]:
    """Return rows and warps of a program on a chip of multiprocessors and bytes (of each).

    Weights of hidden 128 leave room for one program on a multiprocessor. Where there are more
    programs than multiprocessors, twice the rows read them half as often from shared memory.
    """
    padded, size = padded_width(hidden), dtype.itemsize
    warps = _WARPS[size][padded]
    n_multiprocessors, there = chip
    crowded = rows > _ROWS and lanes * -(-rows // _ROWS) > n_multiprocessors
    if not crowded or (padded, size) != (_MOST_HIDDEN, 2):
        return _ROWS, warps
    if shared_bytes(kind, hidden=hidden, dtype=dtype, rows=_MANY_ROWS) > there:
        return _ROWS, warps
    return _MANY_ROWS, 2 * warps


def _chip(device: torch.device) -> tuple[int, int]:
    """Return its multiprocessors, and the bytes of shared memory that one program may have."""
    if device.type != "cuda":
        return sys.maxsize, sys.maxsize  # Triton's interpreter knows no limits
    chip = torch.cuda.get_device_properties(device)
    there = getattr(chip, "shared_memory_per_block_optin", chip.shared_memory_per_block)
    return chip.multi_processor_count, there


def padded_width(hidden: int) -> int:
    """Return the width of a tile: a power of two, and wide enough for tensor cores."""
    return max(16, 1 << (hidden - 1).bit_length())


def _precision(dtype: torch.dtype) -> str:
    """Return how products are computed: those of float32 as PyTorch would."""
    rounded = dtype == torch.float32 and torch.backends.cuda.matmul.allow_tf32
    return "tf32" if rounded else "ieee"


def _or_any(first: Tensor | None, second: Tensor | None, any_: Tensor) -> tuple[Tensor, Tensor]:
    """Return both, and in the place of None a tensor that the kernel takes but never reads."""
    return any_ if first is None else first, any_ if second is None else second


def on_device(device: torch.device) -> AbstractContextManager:
    """Make `device` the current one: Triton launches there, wherever the tensors lie."""
    return torch.cuda.device(device) if device.type == "cuda" else nullcontext()


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
