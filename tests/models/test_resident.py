"""Resident walks compute what `nn.LSTM` and `nn.GRU` compute, lane by lane.

Without a GPU, Triton's interpreter runs the kernels on the CPU. It must be asked for before Triton
is imported, which other tests of the same process may have done: it runs in a process of its own,
this file as a program, that takes calls over a pipe.

Shapes: L lanes, T steps, B rows, H hidden, S = T + 1 states, G gates (LSTM 4 H, GRU 2 H)
"""

import io
import os
import random
import re
import subprocess
import sys
import traceback
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from torch import nn

from walkforge.models import _resident, _walk_race

NO_TRITON = find_spec("triton") is None
pytestmark = pytest.mark.skipif(NO_TRITON, reason="triton is not installed")
CUDA = [
    pytest.mark.cuda,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device on this machine"),
]
H100 = (132, 227 * 1024)
"""Multiprocessors, and bytes of shared memory of one program."""

# Largest difference from float64 over the largest number of a tensor. The kernels compute in
# float32 and round what they store; the interpreter cuts bfloat16 off instead of rounding it,
# always towards zero, so its errors add up over the steps.
TOLERANCE = {torch.float32: 5e-6, torch.float16: 4e-3, torch.bfloat16: 5e-2}
DTYPES = pytest.mark.parametrize("dtype", TOLERANCE, ids=lambda dtype: str(dtype)[6:])
KINDS = pytest.mark.parametrize("kind", ["lstm", "gru"])


@dataclass(frozen=True)
class Shape:
    lanes: int
    steps: int
    rows: int
    hidden: int

    def __str__(self):
        return "x".join(map(str, (self.lanes, self.steps, self.rows, self.hidden)))


SHAPES = pytest.mark.parametrize(
    "shape", [Shape(3, 5, 5, 20), Shape(2, 1, 17, 16), Shape(2, 3, 33, 5), Shape(1, 2, 3, 128)],
    ids=str,
)  # fmt: skip


def _call(name, arguments):
    """Return the arguments, as a walk leaves them, and its results, all as a list."""
    results = getattr(_resident, name)(*arguments)
    return [*arguments, *([results] if isinstance(results, torch.Tensor) else results)]


class _Interpreted:
    """Calls of walks in a process where Triton interprets its kernels."""

    def __init__(self):
        self._process = subprocess.Popen(
            [sys.executable, __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "TRITON_INTERPRET": "1"},
        )

    def __call__(self, name, *arguments):
        _send(self._process.stdin, (name, arguments))
        answer = _receive(self._process.stdout)
        assert not isinstance(answer, str), answer
        return answer

    def close(self):
        self._process.stdin.close()
        self._process.stdout.close()
        assert self._process.wait(timeout=60) == 0


def _on_cuda(name, *arguments):
    there = [None if a is None else a.cuda() for a in arguments]
    return [None if a is None else a.cpu() for a in _call(name, there)]


def _send(pipe, message):
    written = io.BytesIO()
    torch.save(message, written)
    pipe.write(len(written.getbuffer()).to_bytes(8, "little") + written.getbuffer())
    pipe.flush()


def _receive(pipe):
    size = pipe.read(8)
    if not size:
        raise EOFError
    return torch.load(io.BytesIO(pipe.read(int.from_bytes(size, "little"))))


def _serve():
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever is printed must not end up between two answers
    while True:
        try:
            name, arguments = _receive(sys.stdin.buffer)
        except EOFError:
            return
        try:
            answer = _call(name, arguments)
        except Exception:
            answer = traceback.format_exc()
        _send(answers, answer)


@pytest.fixture(scope="module")
def interpreted():
    walks = _Interpreted()
    yield walks
    walks.close()


@pytest.fixture(params=["interpreted", pytest.param("cuda", marks=CUDA)])
def call(request):
    """Return a function of a walk's name and arguments: those and the results, on the CPU."""
    if request.param == "cuda":
        return _on_cuda
    return request.getfixturevalue("interpreted")


@pytest.fixture
def seed():
    """Return another seed in every run; failures name it."""
    number = random.SystemRandom().randrange(2**31)
    torch.manual_seed(number)
    return number


@dataclass
class Case:
    """Random arguments of a walk, and the gradients that come back to it."""

    kind: str
    shape: Shape
    pre: torch.Tensor
    """Pre-activations, for GRUs those of the new state last."""
    hidden: torch.Tensor
    """Recurrent weights, gate beside gate as in `pre`."""
    bias: torch.Tensor
    """Of the recalled state (GRU alone)."""
    d_states: torch.Tensor | None
    d_last: torch.Tensor | None

    @classmethod
    def random(cls, kind, shape, dtype, *, d_states=True, d_last=True):
        L, T, B, H = shape.lanes, shape.steps, shape.rows, shape.hidden
        width = {"lstm": 4, "gru": 3}[kind] * H
        weights = torch.empty(L, width, H).uniform_(-2, 2) / H**0.5
        return cls(
            kind=kind,
            shape=shape,
            pre=torch.randn(L, T, B, width).to(dtype),
            hidden=weights.to(dtype).transpose(1, 2),
            bias=torch.randn(L, 1, H).to(dtype),
            d_states=torch.randn(L, T, B, H).to(dtype) if d_states else None,
            d_last=torch.randn(L, B, H).to(dtype) if d_last else None,
        )

    def there_and_back(self, call):
        """Return states, and gradients of pre-activations and of recalled states, by name."""
        H = self.shape.hidden
        given = (self.d_states, self.d_last)
        if self.kind == "lstm":
            gates, hidden, states, cells = call("lstm_walk", self.pre.clone(), self.hidden)
            d_pre = call("lstm_walk_back", gates, cells, hidden, *given)[-1]
            return {"gates": gates, "cells": cells, "states": states, "d_pre": d_pre}
        gates, news = (part.contiguous() for part in self.pre.split([2 * H, H], dim=-1))
        hidden = self.hidden.split([2 * H, H], dim=-1)
        gates, news, *_, states, recalled = call("gru_walk", gates, news, *hidden, self.bias)
        *_, d_gates, d_news, d_recalled = call(
            "gru_walk_back", gates, news, recalled, states, *hidden, *given
        )
        found = {"gates": gates, "news": news, "recalled": recalled, "states": states}
        return {**found, "d_pre": torch.cat([d_gates, d_news], -1), "d_recalled": d_recalled}


def expected(case):
    """Return what PyTorch's module finds in float64: states, and gradients of what it was given.

    The inputs are the pre-activations and go through the identity, so their gradients are those.
    """
    states, d_pre, d_hidden, d_bias = [], [], [], []
    width, H = case.pre.shape[-1], case.shape.hidden
    for lane in range(case.shape.lanes):
        network = {"lstm": nn.LSTM, "gru": nn.GRU}[case.kind](width, H).double()
        with torch.no_grad():
            network.weight_ih_l0.copy_(torch.eye(width))
            network.bias_ih_l0.zero_()
            network.bias_hh_l0.zero_()
            network.weight_hh_l0.copy_(case.hidden[lane].T)
            if case.kind == "gru":
                network.bias_hh_l0[2 * H :] = case.bias[lane, 0]
        pre = case.pre[lane].double().requires_grad_()
        out, _ = network(pre)
        loss = out.new_zeros(())
        if case.d_states is not None:
            loss = loss + (out * case.d_states[lane]).sum()
        if case.d_last is not None:
            loss = loss + (out[-1] * case.d_last[lane]).sum()
        (loss + 0.0 * out.sum()).backward()
        states.append(out.detach())
        d_pre.append(pre.grad)
        d_hidden.append(network.weight_hh_l0.grad.T)
        d_bias.append(network.bias_hh_l0.grad[-H:])
    return {
        "states": torch.stack(states), "d_pre": torch.stack(d_pre),
        "d_hidden": torch.stack(d_hidden), "d_bias": torch.stack(d_bias),
    }  # fmt: skip


def assert_near(found, wanted, what, *, seed, dtype):
    """Compare by the largest difference over the largest number."""
    found, wanted = found.double(), wanted.double()
    assert found.shape == wanted.shape
    assert found.isfinite().all(), f"{what}, seed {seed}"
    error = ((found - wanted).abs().max() / wanted.abs().max().clamp(min=1e-3)).item()
    assert error <= TOLERANCE[dtype], f"{what} is off by {error:.2g} of its largest, seed {seed}"


def assert_as_the_module(case, found, *, seed, dtype):
    """Compare states, gradients of pre-activations, and the weights' made from both."""
    wanted = expected(case)
    states = found["states"]
    assert not states[:, 0].any()
    assert_near(states[:, 1:], wanted["states"], "states", seed=seed, dtype=dtype)
    assert_near(found["d_pre"], wanted["d_pre"], "d_pre", seed=seed, dtype=dtype)
    d_products = found["d_pre"].double()
    if case.kind == "gru":
        d_recalled = found["d_recalled"].double()
        d_products = torch.cat([d_products[..., : -case.shape.hidden], d_recalled], -1)
        assert_near(d_recalled.sum((1, 2)), wanted["d_bias"], "d_bias", seed=seed, dtype=dtype)
    d_hidden = torch.einsum("ltbh,ltbg->lhg", states[:, :-1].double(), d_products)
    assert_near(d_hidden, wanted["d_hidden"], "d_hidden", seed=seed, dtype=dtype)


@KINDS
@DTYPES
@SHAPES
def test_states_and_gradients_are_those_of_pytorchs_module(kind, dtype, shape, call, seed):
    case = Case.random(kind, shape, dtype)
    assert_as_the_module(case, case.there_and_back(call), seed=seed, dtype=dtype)


@KINDS
@pytest.mark.parametrize(("d_states", "d_last"), [(True, False), (False, True), (False, False)])
def test_a_gradient_that_is_none_counts_as_zero(kind, d_states, d_last, call, seed):
    case = Case.random(
        kind, Shape(2, 4, 3, 6), torch.float32, d_states=d_states, d_last=d_last
    )  # fmt: skip
    found = case.there_and_back(call)
    assert_as_the_module(case, found, seed=seed, dtype=torch.float32)
    assert found["d_pre"].any() == (d_states or d_last)


@KINDS
@DTYPES
def test_everything_kept_is_what_a_plain_loop_computes(kind, dtype, call, seed):
    case = Case.random(kind, Shape(2, 6, 7, 12), dtype)
    found = case.there_and_back(call)
    for name, wanted in {"lstm": _plain_lstm, "gru": _plain_gru}[kind](case, dtype).items():
        assert_near(found[name], wanted, name, seed=seed, dtype=dtype)


def _plain_lstm(case, dtype):
    """Gate by gate in float64, the states rounded to `dtype` before the next step."""
    h = torch.zeros_like(case.pre[:, 0, :, : case.shape.hidden]).double()
    cell, gates, cells = h, [], [h]
    for t in range(case.shape.steps):
        i, f, g, o = (case.pre[:, t].double() + h @ case.hidden.double()).chunk(4, dim=-1)
        i, f, g, o = i.sigmoid(), f.sigmoid(), g.tanh(), o.sigmoid()
        cell = f * cell + i * g
        h = (o * cell.tanh()).to(dtype).double()
        gates.append(torch.cat([i, f, g, o], -1))
        cells.append(cell)
    return {"gates": torch.stack(gates, 1), "cells": torch.stack(cells, 1)}


def _plain_gru(case, dtype):
    """Gate by gate in float64, the states rounded to `dtype` before the next step."""
    h = torch.zeros_like(case.pre[:, 0, :, : case.shape.hidden]).double()
    gates, news, recalled = [], [], []
    for t in range(case.shape.steps):
        r, z, n = case.pre[:, t].double().chunk(3, dim=-1)
        from_r, from_z, q = (h @ case.hidden.double()).chunk(3, dim=-1)
        r, z, q = (r + from_r).sigmoid(), (z + from_z).sigmoid(), q + case.bias.double()
        n = (n + r * q).tanh()
        h = (n + z * (h - n)).to(dtype).double()
        gates.append(torch.cat([r, z], -1))
        news.append(n)
        recalled.append(q)
    found = {"gates": gates, "news": news, "recalled": recalled}
    return {name: torch.stack(steps, 1) for name, steps in found.items()}


@KINDS
@DTYPES
def test_nan_in_one_lane_leaves_the_others_bit_identical(kind, dtype, call, seed):
    case = Case.random(kind, Shape(3, 3, 5, 20), dtype)
    clean = case.there_and_back(call)
    for tensor in (case.pre, case.hidden, case.bias, case.d_states):
        tensor[1] = torch.nan
    ill = case.there_and_back(call)
    assert ill["states"][1, 1:].isnan().all(), f"seed {seed}"
    for name, tensor in ill.items():
        for lane in (0, 2):
            assert torch.equal(tensor[lane], clean[name][lane]), f"{name}, seed {seed}"


@KINDS
def test_a_lane_alone_walks_as_in_company(kind, call, seed):
    case = Case.random(kind, Shape(3, 3, 5, 20), torch.float32)
    together = case.there_and_back(call)
    parts = {
        name: getattr(case, name)[2:] for name in ("pre", "hidden", "bias", "d_states", "d_last")
    }
    alone = Case(kind=kind, shape=Shape(1, 3, 5, 20), **parts).there_and_back(call)
    for name, tensor in alone.items():
        assert torch.equal(tensor[0], together[name][2]), f"{name}, seed {seed}"


def test_float32_weights_of_128_hidden_do_not_fit_where_16_bits_do(monkeypatch):
    _pretend_an_h100(monkeypatch)
    device = torch.device("cuda")
    for kind, dtype, fits in [
        ("lstm", torch.bfloat16, True),
        ("lstm", torch.float16, True),
        ("lstm", torch.float32, False),
        ("gru", torch.float32, True),
    ]:
        supported, reason = _resident.resident_supports(
            kind, hidden=128, dtype=dtype, device=device
        )
        assert supported == fits, reason
        assert "KiB of 227 KiB" in reason


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"hidden": 129}, "more than the resident kernels' 128"),
        ({"dtype": torch.float64}, "no float64"),
        ({"device": torch.device("cpu")}, "need a CUDA device, found cpu"),
    ],
)
def test_what_is_not_supported_says_why(change, words, monkeypatch):
    _pretend_an_h100(monkeypatch)
    asked = {"hidden": 64, "dtype": torch.bfloat16, "device": torch.device("cuda")} | change
    assert not _resident.resident_supports("gru", **asked)[0]
    assert words in _resident.resident_supports("gru", **asked)[1]


def test_without_triton_nothing_is_supported(monkeypatch):
    _pretend_an_h100(monkeypatch)
    asked = {"hidden": 64, "dtype": torch.bfloat16, "device": torch.device("cuda")}
    assert _resident.resident_supports("lstm", **asked)[0]
    monkeypatch.setattr(_resident.importlib.util, "find_spec", lambda name: None)
    assert _resident.resident_supports("lstm", **asked) == (False, "triton is not installed")


def _pretend_an_h100(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (9, 0))
    monkeypatch.setattr(torch.version, "cuda", "12.8")
    monkeypatch.setattr(_resident, "_chip", lambda device: H100)


@KINDS
@pytest.mark.parametrize(
    ("times_ms", "faster", "words"),
    [
        ((1.9, 8.4), True, "resident {} kernel for 2 lanes x 3 steps x 4 rows x 5: "),
        ((8.4, 1.9), False, "batched {} walk for 2 lanes x 3 steps x 4 rows x 5: "),
    ],
)
def test_the_faster_walk_is_chosen_and_both_times_are_told(
    kind, times_ms, faster, words, monkeypatch
):
    times = iter(times_ms)
    monkeypatch.setattr(_walk_race, "_median_ms", lambda run: next(times))
    chosen, reason = _faster(kind, torch.device("cpu"))
    assert chosen == faster
    slower = "batched" if faster else "resident"
    assert reason == words.format(kind.upper()) + f"1.9 ms against 8.4 ms {slower}"


def test_a_kernel_that_cannot_run_is_not_faster(monkeypatch):
    def fail(run):
        raise RuntimeError("out of resource: shared memory\nmore lines")

    monkeypatch.setattr(_walk_race, "_median_ms", fail)
    chosen, reason = _faster("lstm", torch.device("cpu"))
    assert not chosen
    assert reason == "no resident LSTM kernel: RuntimeError: out of resource: shared memory"


def _faster(kind, device, batched=(None, None), sizes=(2, 3, 4, 5)):
    names = ("lanes", "steps", "rows", "hidden")
    shape = dict(zip(names, sizes, strict=True))
    return _walk_race.faster_walk(
        kind, **shape, dtype=torch.bfloat16, device=device, batched=batched
    )


# 16 lanes of 16 rows fit an H100 at once, 9 programs for each of 80 lanes do not: 32 rows each.
COMPILED = [
    (torch.bfloat16, 128, 16, 16),
    (torch.bfloat16, 128, 80, 129),
    (torch.float32, 64, 16, 16),
]


@KINDS
@pytest.mark.parametrize(("dtype", "hidden", "lanes", "rows"), COMPILED)
def test_kernels_compile_for_an_h100_and_stay_on_the_chip(
    kind, dtype, hidden, lanes, rows, monkeypatch, tmp_path
):
    ptxas = _ptxas()
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    size = {"hidden": hidden, "dtype": dtype}
    block, warps = _resident.program_size(kind, lanes=lanes, rows=rows, chip=H100, **size)
    for name in (f"{kind}_walk_kernel", f"{kind}_walk_back_kernel"):
        compiled = _compiled(name, dtype=dtype, hidden=hidden, rows=block, warps=warps)
        most = _resident.shared_bytes(kind, rows=block, **size)
        assert compiled.metadata.shared <= most <= H100[1]
        code = tmp_path / "kernel.ptx"
        code.write_text(compiled.asm["ptx"])
        told = subprocess.run(
            [ptxas, "-v", "--gpu-name=sm_90a", code, "-o", os.devnull],
            check=True, capture_output=True, text=True,
        ).stderr  # fmt: skip
        spilled = [int(n) for n in re.findall(r"(\d+) bytes spill", told)]
        assert spilled
        assert max(spilled) <= 16, told


def _compiled(name, *, dtype, hidden, rows, warps):
    import triton
    from triton.backends.compiler import GPUTarget

    from walkforge.models import _resident_kernels

    kernel = getattr(_resident_kernels, name)
    short = {torch.bfloat16: "*bf16", torch.float32: "*fp32"}[dtype]
    fixed = {"H": hidden, "HP": _resident.padded_width(hidden), "ROWS": rows, "PRECISION": "ieee"}
    if "back" in name:
        fixed |= {"D_STATES": True, "D_LAST": True}
    types = {"T": "i32", "B": "i32", "cells_LSBH": "*fp32"} | dict.fromkeys(fixed, "constexpr")
    source = triton.compiler.ASTSource(
        fn=kernel,
        signature={arg: types.get(arg, short) for arg in kernel.arg_names},
        constexprs=fixed,
        attrs={
            (n,): [["tt.divisibility", 16]]
            for n, arg in enumerate(kernel.arg_names)
            if types.get(arg, short).startswith("*")
        },
    )
    return triton.compile(
        source,
        target=GPUTarget("cuda", 90, 32),
        options={"num_warps": warps, "num_stages": 1},
    )


def _ptxas():
    """Return Triton's assembler; without it, or where kernels are interpreted, skip."""
    import triton

    if os.environ.get("TRITON_INTERPRET") == "1":
        pytest.skip("TRITON_INTERPRET=1: kernels are interpreted, not compiled")
    bundled = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "ptxas"
    if not bundled.exists():
        pytest.skip(f"this build of triton has no assembler at {bundled}")
    return bundled


@KINDS
@pytest.mark.parametrize("mark", [pytest.param("cuda", marks=CUDA)])
def test_a_recorded_walk_replays_on_new_numbers(kind, mark, seed):
    sizes = {"lanes": 5, "steps": 7, "rows": 40, "hidden": 100}
    device = torch.device(mark)
    data = _walk_race.random_walk(kind, **sizes, dtype=torch.bfloat16, device=device)
    walk, n_arguments = _resident.RESIDENT[kind][0], len(data) - 1
    fresh = [torch.randn_like(tensor) for tensor in data[:n_arguments]]
    wanted = [tensor.clone() for tensor in walk(*(tensor.clone() for tensor in fresh))]
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        recorded = walk(*data[:n_arguments])
    for tensor, values in zip(data, fresh, strict=False):
        tensor.copy_(values)
    graph.replay()
    for found, want in zip(recorded, wanted, strict=True):
        assert torch.equal(found, want), f"seed {seed}"


@KINDS
@pytest.mark.parametrize("mark", [pytest.param("cuda", marks=CUDA)])
def test_many_rows_of_many_lanes_walk_as_the_module(kind, mark, seed):
    case = Case.random(kind, Shape(40, 3, 100, 128), torch.bfloat16)
    found = case.there_and_back(_on_cuda)
    assert_as_the_module(case, found, seed=seed, dtype=torch.bfloat16)


@KINDS
@pytest.mark.parametrize("mark", [pytest.param("cuda", marks=CUDA)])
def test_on_a_gpu_both_walks_are_timed(kind, mark):
    walks = _resident.RESIDENT[kind]
    sizes = (3, 4, 5, 6)
    assert "ms against" in _faster(kind, torch.device(mark), batched=walks, sizes=sizes)[1]


if __name__ == "__main__":
    _serve()
