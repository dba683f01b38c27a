"""One recurrent layer of many small networks, there and back; needs a CUDA device, torch, triton.

    python benchmarks/recurrence.py [--quick] [--kind lstm gru] [--lanes 1 40] [--hidden 64 128]

For every shape, milliseconds of
 - resident: each lane's recurrent weights stay on the chip, one kernel for all steps;
 - batched: a batched product and a few kernels per step, for all lanes at once;
 - cuDNN: `nn.LSTM` or `nn.GRU`, one lane after the other, as a user would call them;
 - cuDNN in a graph: the same without the cost of calling it.

All do the same work: products with the inputs, the walk, gradients of inputs, weights and biases.
Resident and batched run as CUDA graphs, as in training. They take turns; medians. A dash stands for
what does not run, the reasons follow the table. The time of compiling is told apart.

Shapes: L lanes, T steps, B rows, I = H inputs, H hidden, R = T x B, G gates, N new (GRU alone)
"""

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))  # runs without installing

from _side_by_side import hardware

from walkforge.models import _resident, _walk_race

LANES, HIDDEN, ROWS, STEPS = (1, 10, 40, 80, 240), (32, 64, 128), (16, 32, 256), 60
DTYPES = {"bfloat16": torch.bfloat16, "float32": torch.float32}
MODULES = {"lstm": nn.LSTM, "gru": nn.GRU}
RIVALS = ("resident", "batched", "cuDNN", "cuDNN in a graph")
_RUNS = 3
"""Of a rival in each of its turns."""


@dataclass(frozen=True)
class Shape:
    """One layer of every lane."""

    kind: str
    dtype_name: str
    lanes: int
    steps: int
    rows: int
    hidden: int

    @property
    def dtype(self) -> torch.dtype:
        return DTYPES[self.dtype_name]


class Packed:
    """All lanes as one program, around the walks it is given."""

    def __init__(self, shape: Shape, walks: _resident.Walks):
        def draw(*size: int) -> Tensor:
            return torch.randn(size, device="cuda").mul_(0.1).to(shape.dtype)

        L, H, steps = shape.lanes, shape.hidden, (shape.steps, shape.rows)
        self.walks, self.steps, self.widths = walks, steps, [4 * H]
        if shape.kind == "gru":
            self.widths = [2 * H, H]
        self.x_LRI = draw(L, steps[0] * steps[1], H)
        self.inputs = [draw(L, H, width) for width in self.widths]
        self.biases = [draw(L, 1, width) for width in self.widths]
        self.hidden = [draw(L, H, width) for width in self.widths]
        self.recalled_bias = [draw(L, 1, H)] if shape.kind == "gru" else []
        self.d_states_LTBH = draw(L, *steps, H)

    def __call__(self) -> None:
        """Compute states and every gradient."""
        L, _, H = self.x_LRI.shape
        pre = [
            torch.baddbmm(bias, self.x_LRI, weights).view(L, *self.steps, -1)
            for bias, weights in zip(self.biases, self.inputs, strict=True)
        ]
        walk, walk_back = self.walks
        states, kept = walk(*pre, *self.hidden, *self.recalled_bias)
        if len(pre) == 1:
            d_pre = d_products = [walk_back(*pre, kept, *self.hidden, self.d_states_LTBH, None)]
        else:
            given = (kept, states, *self.hidden, self.d_states_LTBH, None)
            d_gates, d_news, d_recalled = walk_back(*pre, *given)
            d_pre, d_products = [d_gates, d_news], [d_gates, d_recalled]
            d_recalled.view(L, -1, H).sum(1, keepdim=True)
        dtype = self.x_LRI.dtype
        self._products([d.view(L, -1, d.shape[-1]).to(dtype) for d in d_pre])
        before_LHR = states[:, :-1].reshape(L, -1, H).transpose(1, 2)
        for d in d_products:
            torch.bmm(before_LHR, d.view(L, -1, d.shape[-1]).to(dtype))

    def _products(self, d_pre: list[Tensor]) -> None:
        """Gradients of inputs, of their weights and of biases."""
        d_x = torch.bmm(d_pre[0], self.inputs[0].transpose(1, 2))
        for d, weights in zip(d_pre[1:], self.inputs[1:], strict=True):
            d_x.baddbmm_(d, weights.transpose(1, 2))
        for d in d_pre:
            torch.bmm(self.x_LRI.transpose(1, 2), d)
            d.sum(1, keepdim=True)


class OneByOne:
    """PyTorch's module, which calls cuDNN, lane after lane."""

    def __init__(self, shape: Shape):
        H = shape.hidden
        module, options = MODULES[shape.kind], {"device": "cuda", "dtype": shape.dtype}
        self.networks = [module(H, H, **options) for _ in range(shape.lanes)]
        self.x_TBI = torch.randn(shape.steps, shape.rows, H, **options).requires_grad_()
        self.d_states_TBH = torch.randn(shape.steps, shape.rows, H, **options)

    def __call__(self) -> None:
        """Compute states and every gradient of every lane."""
        for network in self.networks:
            states, _ = network(self.x_TBI)
            torch.autograd.grad(states, [self.x_TBI, *network.parameters()], self.d_states_TBH)


class Graphed:
    """Work as a CUDA graph; done once before, to compile and to warm up."""

    def __init__(self, run: Callable[[], None]):
        self.run = run  # whose tensors the graph reads
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            run()
        torch.cuda.current_stream().wait_stream(side)
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph):
            run()

    def __call__(self) -> None:
        """Do it again, on the same tensors."""
        self.graph.replay()


def milliseconds(run: Callable[[], None]) -> float:
    """Return the device's time for one call."""
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    start.record()
    for _ in range(_RUNS):
        run()
    end.record()
    end.synchronize()
    return start.elapsed_time(end) / _RUNS


def contestants(shape: Shape, missing: set[str]) -> Iterable[tuple[str, Callable[[], None]]]:
    """Yield what runs on this shape, by name; tell `missing` why the others do not."""
    device = torch.device("cuda", torch.cuda.current_device())
    fits, why = _resident.resident_supports(
        shape.kind, hidden=shape.hidden, dtype=shape.dtype, device=device
    )
    if not fits:
        missing.add(f"resident {shape.kind}: {why}")
    ways: dict[str, Callable[[], Callable[[], None]]] = {
        "resident": lambda: Graphed(Packed(shape, _resident.RESIDENT[shape.kind])),
        "batched": lambda: Graphed(Packed(shape, batched_walks(shape.kind))),
        "cuDNN": lambda: OneByOne(shape),
        "cuDNN in a graph": lambda: Graphed(OneByOne(shape)),
    }
    for name, build in ways.items():
        if name == "resident" and not fits:
            continue
        try:
            run = build()
            run()
            torch.cuda.synchronize()
        except Exception as error:  # out of memory, or what this device or version cannot run
            first = next(iter(str(error).splitlines()), "")
            missing.add(f"{name}, {shape.kind} {shape.dtype_name}: {first}")
            continue
        yield name, run


def batched_walks(kind: str) -> _resident.Walks:
    """Return the batched walks there and back."""
    from walkforge.models import _gru_layer, _lstm_layer

    module = {"lstm": _lstm_layer, "gru": _gru_layer}[kind]
    return getattr(module, f"{kind}_walk"), getattr(module, f"{kind}_walk_back")


def measure(shape: Shape, rounds: int, missing: set[str]) -> dict[str, float]:
    """Return the median milliseconds of every rival that runs; they take turns."""
    runs = dict(contestants(shape, missing))
    times: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            times[name].append(milliseconds(run))
    return {name: statistics.median(taken) for name, taken in times.items()}


def line(shape: Shape, found: dict[str, float]) -> str:
    """Return a row of the Markdown table: times, and ratios to the resident walk."""

    def ratio(name: str) -> str:
        both = name in found and "resident" in found
        return f"{found[name] / found['resident']:.2f}" if both else "-"

    times = [f"{found[name]:.3g}" if name in found else "-" for name in RIVALS]
    what = [shape.kind.upper(), shape.dtype_name, shape.lanes, shape.rows, shape.hidden]
    cells = [*map(str, what), *times, *map(ratio, RIVALS[1:])]
    return f"| {' | '.join(cells)} |"


def compiling(shape: Shape) -> str:
    """Return a row: seconds of the first walk there and back, where nothing is compiled yet."""
    sizes = {"lanes": 1, "steps": 1, "rows": shape.rows, "hidden": shape.hidden}
    device = torch.device("cuda", torch.cuda.current_device())
    data = _walk_race.random_walk(shape.kind, **sizes, dtype=shape.dtype, device=device)
    torch.cuda.synchronize()
    started = time.perf_counter()
    _walk_race.there_and_back(shape.kind, _resident.RESIDENT[shape.kind], data)
    torch.cuda.synchronize()
    taken = time.perf_counter() - started
    return f"| {shape.kind.upper()} | {shape.dtype_name} | {shape.hidden} | {taken:.2f} |"


def main() -> None:
    """Measure and print, shape by shape."""
    options = _arguments()
    if not torch.cuda.is_available():
        print("No CUDA device on this machine: there is nothing to compare.")
        return
    shapes = [
        Shape(kind, dtype_name, lanes, STEPS, rows, hidden)
        for kind in options.kind
        for dtype_name in options.dtype
        for hidden in options.hidden
        for rows in options.rows
        for lanes in options.lanes
    ]
    missing: set[str] = set()
    with tempfile.TemporaryDirectory() as cache:
        os.environ["TRITON_CACHE_DIR"] = cache  # an empty one: the time of compiling is told
        compile_lines = _compile_lines(shapes)
        print(f"{torch.cuda.get_device_name()}; {hardware()}; torch {torch.__version__}; {_tf32()}")
        print(f"{STEPS} steps, forwards and backwards, ms; median of {options.rounds} turns\n")
        ratios = [f"{name} / resident" for name in RIVALS[1:]]
        head = ["cell", "numbers", "lanes", "rows", "hidden", *RIVALS, *ratios]
        print(f"| {' | '.join(head)} |\n|{'---|' * len(head)}")
        for shape in shapes:
            print(line(shape, measure(shape, options.rounds, missing)), flush=True)
            torch.cuda.empty_cache()
    print("\n| compiled once | numbers | hidden | s |\n|---|---|---|---|")
    print("\n".join(compile_lines))
    print("\n" + "\n".join(sorted(missing)))


def _compile_lines(shapes: list[Shape]) -> list[str]:
    device = torch.device("cuda", torch.cuda.current_device())
    lines: dict[tuple, str] = {}
    for shape in shapes:
        key = {"hidden": shape.hidden, "dtype": shape.dtype}
        if not _resident.resident_supports(shape.kind, **key, device=device)[0]:
            continue
        if (shape.kind, *key.values()) not in lines:
            lines[shape.kind, *key.values()] = compiling(shape)
    return list(lines.values())


def _tf32() -> str:
    return f"TF32 {'on' if torch.backends.cuda.matmul.allow_tf32 else 'off'}"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="a short check")
    parser.add_argument("--kind", nargs="+", choices=MODULES, default=["lstm"])
    parser.add_argument("--dtype", nargs="+", choices=DTYPES, default=list(DTYPES))
    parser.add_argument("--lanes", nargs="+", type=int, default=list(LANES))
    parser.add_argument("--hidden", nargs="+", type=int, default=list(HIDDEN))
    parser.add_argument("--rows", nargs="+", type=int, default=list(ROWS))
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    if options.quick:
        options.lanes, options.rows, options.rounds = [1, 80], [16], 2
    return options


if __name__ == "__main__":
    main()
