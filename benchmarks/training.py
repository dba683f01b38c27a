"""Packed training against what a user would otherwise run; needs torch and numpy alone.

    python benchmarks/training.py [--quick] [--device cuda] [--workload mlp gru bilstm cnn_lstm ...]

For every workload and number of members, rows per second of one packed program, and of
 - the loader: one model after the other, `TensorDataset` and `DataLoader`;
 - the loop: the same with the data on the device, shuffled by index;
 - processes: the loader in as many processes at once as there are cores, one thread each;
 - `torch.vmap`: per-member gradients over stacked parameters, one optimiser for all.

All draw new batches every epoch, clip gradients per model and step with AdamW, in the same
precision; the packed program also validates and keeps best states. They take turns in one process;
medians. One model after the other does not become faster with more models, so it is measured once
a round. The share of the roof is the arithmetic done per second over that of a large matrix product
in the same rounds. A second table has what each size costs besides, in a process of its own: how
much longer the first epoch and all before it take (choosing walks, compiling kernels, capturing
graphs), and peak memory beyond that of the libraries.

Shapes: M members, B rows in a batch, T bars in the window, F features, K outputs, Y true numbers
"""

import argparse
import ctypes
import gc
import itertools
import math
import multiprocessing
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, stack_module_state, vmap
from torch.utils.data import DataLoader, TensorDataset

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))  # runs without installing

from _side_by_side import hardware

from walkforge.base import (
    Precision,
    choose_device,
    choose_precision,
    give_back_freed,
    peak_resident_bytes,
)
from walkforge.models import Architecture, Bilstm, CnnLstm, Gru, Mlp
from walkforge.training import HeadWeights, Member, TrainingPlan, forecast_losses, train_pack

MEMBERS = (1, 3, 10, 45, 120)
MEMBERS_OF_FORTY = (1, 10, 40, 120)
_N_CLASSES, _CLIP = 3, 10.0
_LEAST_BATCHES = 12
# Per-member gradients of recurrent networks take so many GiB that more members than these do not
# fit beside the rest.
_MOST_VMAPPED = {"Gru": 45, "CnnLstm": 10, "Bilstm": 10}
_PLAN = {"learning_rate": 1e-3, "weight_decay": 1e-4, "clip_norm": 1.0}


@dataclass(frozen=True)
class Workload:
    """One shape of network and batch."""

    words: str
    architecture: Architecture
    batch_size: int
    multiplications: int
    """Per row, forwards and backwards, without the gradient of the input."""
    members: tuple[int, ...] = MEMBERS
    epoch_rows: int = 0
    """Rows of all members in one epoch of the preset that it is taken from; 0 for none."""

    @property
    def n_truth(self) -> int:
        """Return how many numbers of a row come true: its class, or a forecaster's targets."""
        row = getattr(self.architecture, "row", None)
        return 1 if row is None else 6 * row.horizon_bars + 1

    def loss(self, outputs_BK: Tensor, truth_BY: Tensor) -> Tensor:
        """Return the mean loss of a batch, the same that the packed program takes."""
        row = getattr(self.architecture, "row", None)
        if row is None:
            return nn.functional.cross_entropy(outputs_BK, truth_BY[:, 0].long())
        levels = torch.tensor(row.levels, device=outputs_BK.device)
        weights = torch.tensor(HeadWeights().in_order, device=outputs_BK.device)
        losses_B4 = forecast_losses(row, outputs_BK.float(), truth_BY, levels_Q=levels)
        return (losses_B4 * weights).sum(-1).mean()


def _mlp(widths: tuple[int, ...]) -> Workload:
    sizes = [72, *widths, _N_CLASSES]
    products = [a * b for a, b in itertools.pairwise(sizes)]
    architecture = Mlp(n_features=72, window_bars=1, n_classes=_N_CLASSES, widths=widths)
    words = f"MLP {'-'.join(map(str, widths))}, batch 256"
    return Workload(words, architecture, 256, 3 * sum(products) - products[0])


def _gru(batch_size: int) -> Workload:
    bars, features, hidden = 20, 17, 64
    per_bar = 2 * features * 3 * hidden + 3 * hidden * 3 * hidden
    architecture = Gru(n_features=features, window_bars=bars, n_classes=_N_CLASSES, hidden=hidden)
    multiplications = bars * per_bar + 3 * hidden * _N_CLASSES
    return Workload(
        f"GRU 64, 20 bars, batch {batch_size}", architecture, batch_size, multiplications
    )


def _lstm(bars: int, inputs: int, hidden: int, *, directions: int = 1, first: bool = False) -> int:
    """Return the multiplications of one layer; the first needs no gradient of its input."""
    of_inputs = (2 if first else 3) * inputs * 4 * hidden
    return bars * directions * (of_inputs + 3 * hidden * 4 * hidden)


def _bilstm() -> Workload:
    bars, features, encoder, decoder, steps = 60, 12, (128, 64, 32), 32, 5
    inputs = (features, *(2 * width for width in encoder))
    found = sum(
        _lstm(bars, i, h, directions=2, first=i == features)
        for i, h in zip(inputs[:-1], encoder, strict=True)
    )
    found += _lstm(steps, inputs[-1], decoder) + 3 * (steps * decoder * 17 + inputs[-1])
    architecture = Bilstm(
        n_features=features,
        window_bars=bars,
        horizon_bars=steps,
        encoder=encoder,
        decoder_hidden=decoder,
        dropout=0.3,
    )
    words = "BiLSTM 128-64-32, 60 bars, batch 16"
    return Workload(words, architecture, 16, found, MEMBERS_OF_FORTY, epoch_rows=40 * 5350)


def _cnn_lstm() -> Workload:
    bars, features, channels, hidden = 32, 14, (32, 64), 64
    found = bars * 3 * (2 * features * channels[0] + 3 * channels[0] * channels[1])
    found += _lstm(bars, channels[1], hidden) + 3 * hidden * _N_CLASSES
    architecture = CnnLstm(
        n_features=features,
        window_bars=bars,
        n_classes=_N_CLASSES,
        channels=channels,
        hidden=hidden,
        dropout=0.2,
    )
    words = "CNN-LSTM 32-64, 64, 32 bars, batch 64"
    return Workload(words, architecture, 64, found, MEMBERS_OF_FORTY, epoch_rows=32 * 27_000)


WORKLOADS = {
    "mlp": _mlp((512, 256, 128)),
    "small": _mlp((64, 32, 16)),
    "gru": _gru(512),
    "gru64": _gru(64),
    "bilstm": _bilstm(),
    "cnn_lstm": _cnn_lstm(),
}


@dataclass
class Bench:
    """One workload's data on the device, and its rivals."""

    name: str
    device: torch.device
    precision: Precision
    seconds: float
    """About how long one measurement takes."""

    def __post_init__(self) -> None:
        self.workload = WORKLOADS[self.name]
        random = np.random.default_rng(0)
        self.n_rows = 64 * self.workload.batch_size
        bars = self.workload.architecture.window_bars
        table = random.normal(size=(self.n_rows + bars, self.workload.architecture.n_features))
        self.table = torch.from_numpy(table.astype(np.float32))
        self.labels = random.integers(0, _N_CLASSES, len(table)).astype(np.int8)
        self.rows = np.arange(bars, bars + self.n_rows)
        self.x = self.table.unfold(0, bars, 1)[1 : self.n_rows + 1].transpose(1, 2).contiguous()
        drawn = random.normal(size=(len(table), self.workload.n_truth)).astype(np.float32)
        self.targets = torch.from_numpy(np.abs(drawn) if drawn.shape[1] > 1 else drawn)
        self.forecasts = drawn.shape[1] > 1
        if not self.forecasts:
            self.targets[:, 0] = torch.from_numpy(self.labels)
        self.y = self.targets[self.rows]

    def packed(self, n_members: int, expected_rows_per_s: float) -> float:
        """Return rows/s of the packed program, from its second epoch on."""
        return statistics.median(self._trained(n_members, expected_rows_per_s).rows_per_s[1:])

    def start(self, n_members: int, expected_rows_per_s: float) -> float:
        """Return how many seconds longer than a later epoch the first and all before it take."""
        began = time.perf_counter()
        speeds = self._trained(n_members, expected_rows_per_s)
        first, *later = itertools.pairwise([began, *speeds.at_s])
        return (first[1] - first[0]) - statistics.median(b - a for a, b in later)

    def _trained(self, n_members: int, expected_rows_per_s: float) -> "_Speeds":
        per_epoch = expected_rows_per_s * self.seconds / 2
        n_batches = int(per_epoch / (n_members * self.workload.batch_size))
        # An epoch of a real study has hundreds of batches; with a few, its ends would be measured.
        rows = self.rows[: max(_LEAST_BATCHES, min(64, n_batches)) * self.workload.batch_size]
        members = [self._member(m, rows) for m in range(n_members)]
        speeds = _Speeds()
        train_pack(
            self.workload.architecture,
            self.table.to(self.device),
            members,
            TrainingPlan(
                epochs=max(3, round(per_epoch * 2 / (len(rows) * n_members)) + 1),
                batch_size=self.workload.batch_size,
                patience=1000,
                **_PLAN,
            ),
            window_bars=self.workload.architecture.window_bars,
            clip=_CLIP,
            precision=self.precision,
            watcher=speeds,
            **(
                {"targets_NT": self.targets.to(self.device)}
                if self.forecasts
                else {"n_classes": _N_CLASSES}
            ),
        )
        return speeds

    def loader(self) -> float:
        """Return rows/s of one model with a DataLoader."""
        loader = DataLoader(
            TensorDataset(self.x, self.y),
            batch_size=self.workload.batch_size,
            shuffle=True,
            pin_memory=self.device.type == "cuda",
        )
        return self._one_model(lambda: iter(loader))

    def loop(self) -> float:
        """Return rows/s of one model with its data on the device."""
        x, y = self.x.to(self.device), self.y.to(self.device)

        def batches() -> Iterator[tuple[Tensor, Tensor]]:
            for part in torch.randperm(len(x), device=self.device).split(self.workload.batch_size):
                yield x[part], y[part]

        return self._one_model(batches)

    def _one_model(self, batches: Callable[[], Iterator]) -> float:
        network = self.workload.architecture.twin().to(self.device).train()
        optimizer = torch.optim.AdamW(
            network.parameters(), lr=_PLAN["learning_rate"], weight_decay=_PLAN["weight_decay"]
        )

        def endlessly() -> Iterator:
            while True:
                yield from batches()

        source = endlessly()

        def step() -> int:
            x, y = (t.to(self.device, non_blocking=True) for t in next(source))
            optimizer.zero_grad()
            with self._autocast():
                outputs = network(x.clamp(-_CLIP, _CLIP))
            self.workload.loss(outputs, y).backward()
            nn.utils.clip_grad_norm_(network.parameters(), _PLAN["clip_norm"])
            optimizer.step()
            return len(y)

        return self._speed(step)

    def vmapped(self, n_members: int) -> float:
        """Return rows/s of `torch.vmap` over stacked parameters, NaN where it cannot be had."""
        most = _MOST_VMAPPED.get(type(self.workload.architecture).__name__)
        if most is not None and (n_members > most or self.device.type == "cuda"):
            return math.nan  # on CUDA PyTorch has no vmap of its recurrent layers
        networks = [self.workload.architecture.twin().to(self.device) for _ in range(n_members)]
        parameters, buffers = stack_module_state(networks)
        optimizer = torch.optim.AdamW(
            parameters.values(), lr=_PLAN["learning_rate"], weight_decay=_PLAN["weight_decay"]
        )
        skeleton = networks[0].to("meta")
        x, y = self.x.to(self.device), self.y.to(self.device)

        def loss(own: dict, rest: dict, x_BTF: Tensor, y_B: Tensor) -> Tensor:
            outputs = functional_call(skeleton, (own, rest), (x_BTF.clamp(-_CLIP, _CLIP),))
            return self.workload.loss(outputs, y_B)

        gradients_of = vmap(grad(loss), randomness="different")
        batch_size = self.workload.batch_size

        def step() -> int:
            own = torch.randint(len(x), (n_members, batch_size), device=self.device)
            with self._autocast():
                gradients = gradients_of(parameters, buffers, x[own], y[own])
            squares = [g.flatten(1).square().sum(1) for g in gradients.values()]
            shrink = (_PLAN["clip_norm"] / (sum(squares).sqrt() + 1e-6)).clamp(max=1.0)
            for name, gradient in gradients.items():
                shape = (n_members,) + (1,) * (gradient.dim() - 1)
                parameters[name].grad = gradient * shrink.view(shape)
            optimizer.step()
            return n_members * batch_size

        return self._speed(step)

    def processes(self) -> float:
        """Return rows/s of the loader in one process per core, all at work at the same time."""
        n_processes = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1
        context = multiprocessing.get_context("spawn")
        ready = context.Barrier(n_processes)
        with context.Pool(n_processes, initializer=_wait_for_all, initargs=(ready,)) as pool:
            jobs = [(self.name, self.device, self.precision, 3 * self.seconds)] * n_processes
            return sum(pool.starmap(_loader_alone, jobs, chunksize=1))

    def roof(self) -> float:
        """Return multiplications per second of a large matrix product."""
        size = 8192 if self.device.type == "cuda" else 2048
        kind = torch.bfloat16 if self.precision.autocast else torch.float32
        a, b = (torch.randn(size, size, device=self.device, dtype=kind) for _ in range(2))
        return self._speed(lambda: len(torch.mm(a, b))) * size * size

    def _speed(self, step: Callable[[], int]) -> float:
        """Return what `step` counts per second."""
        for _ in range(2):
            step()
        self._wait()
        done, started = 0, time.perf_counter()
        while time.perf_counter() - started < self.seconds:
            done += sum(step() for _ in range(1 if self.device.type == "cpu" else 20))
        self._wait()
        return done / (time.perf_counter() - started)

    def _member(self, number: int, rows: np.ndarray) -> Member:
        n_features = self.workload.architecture.n_features
        return Member(
            symbol=f"S{number}",
            fold=0,
            seed=number,
            train_rows=rows,
            train_labels=self.labels[rows],
            validation_rows=rows[:64],
            validation_labels=self.labels[rows[:64]],
            center=np.zeros(n_features),
            scale=np.ones(n_features),
        )

    def _autocast(self):
        if not self.precision.autocast:
            return nullcontext()
        return torch.autocast(self.device.type, dtype=torch.bfloat16)

    def _wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize()


def cost(bench: Bench, n_members: int, rows_per_s: float) -> tuple[float, float]:
    """Return seconds of starting, and peak MiB beyond the libraries, in a process of its own.

    No members stand for one model with a loader, whose start is not measured.
    """
    asked = (bench.name, bench.device, bench.precision, bench.seconds, n_members, rows_per_s)
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_cost_here, asked)


def _cost_here(
    name: str,
    device: torch.device,
    precision: Precision,
    seconds: float,
    n_members: int,
    rows_per_s: float,
) -> tuple[float, float]:
    on_gpu = device.type == "cuda"
    libraries = 0 if on_gpu else peak_resident_bytes()
    bench = Bench(name, device, precision, seconds)
    if n_members:
        start_s = bench.start(n_members, rows_per_s)
    else:
        bench.loader()
        start_s = math.nan
    peak = torch.cuda.max_memory_allocated(device) if on_gpu else peak_resident_bytes()
    return start_s, (peak - libraries) / 2**20


_READY = None


def _wait_for_all(ready) -> None:
    global _READY
    _READY = ready


def _loader_alone(name: str, device: torch.device, precision: Precision, seconds: float) -> float:
    """Return rows/s of the loader in this process, begun when all processes are ready."""
    torch.set_num_threads(1)
    bench = Bench(name, device, precision, seconds)
    _READY.wait()
    return bench.loader()


class _Speeds:
    """A watcher that keeps each epoch's rows/s, and when it ended."""

    def __init__(self) -> None:
        self.rows_per_s: list[float] = []
        self.at_s: list[float] = []

    def note(self, text: str) -> None: ...

    def doing(self, what: str) -> None: ...

    def step(self, epoch: int, step: int, n_steps: int) -> None: ...

    def epoch(self, report: dict) -> None:
        self.rows_per_s.append(report["rows_per_s"])
        self.at_s.append(time.perf_counter())


def measure(bench: Bench, members: list[int], rounds: int) -> dict[str, float]:
    """Return the median speed of every rival; they take turns, round by round."""
    found: dict[str, list[float]] = {}
    guess = bench.loop()
    for _ in range(rounds):
        rivals: dict[str, Callable[[], float]] = {
            "roof": bench.roof,
            "loader": bench.loader,
            "loop": bench.loop,
            "processes": bench.processes,
        }
        for m in members:
            rivals[f"packed {m}"] = lambda m=m: bench.packed(m, guess)
            rivals[f"vmap {m}"] = lambda m=m: bench.vmapped(m)
        for name, rival in rivals.items():
            gc.collect()
            give_back_freed()
            _usual_heap()
            found.setdefault(name, []).append(rival())
    return {name: statistics.median(speeds) for name, speeds in found.items()}


def _usual_heap() -> None:
    """Let glibc keep freed memory as it does in a process that has trained for a while.

    The packed program changes these thresholds and leaves them low, for the stages after it; the
    others would suffer.
    """
    glibc = ctypes.CDLL(None) if sys.platform == "linux" else None
    if hasattr(glibc, "mallopt"):
        glibc.mallopt(-3, 32 * 2**20)  # M_MMAP_THRESHOLD, as high as it grows by itself
        glibc.mallopt(-1, 64 * 2**20)  # M_TRIM_THRESHOLD, likewise


def lines(workload: Workload, speed: dict[str, float], members: list[int]) -> list[str]:
    """Return the rows of the Markdown table."""
    rows = []
    for m in members:
        packed = speed[f"packed {m}"]
        share = packed * workload.multiplications / speed["roof"]
        over_vmap = packed / speed[f"vmap {m}"]
        words = "-" if math.isnan(over_vmap) else f"{over_vmap:.2f}"
        epoch = f"{workload.epoch_rows / packed:,.0f}" if workload.epoch_rows else "-"
        rows.append(
            f"| {workload.words} | {m} | {packed:,.0f} | {packed / speed['loader']:.2f} "
            f"| {packed / speed['loop']:.2f} | {packed / speed['processes']:.2f} | {words} "
            f"| {share:.0%} | {epoch} |"
        )
    return rows


def main() -> None:
    """Measure and print, workload by workload."""
    options = _arguments()
    device, _ = choose_device(options.device)
    precision, _ = choose_precision(options.precision, device)
    torch.set_float32_matmul_precision("high" if precision.tf32 else "highest")
    rounds, seconds = (1, 0.3) if options.quick else (options.rounds, 1.0)
    where = torch.cuda.get_device_name(device) if device.type == "cuda" else hardware()
    print(
        f"{where}; torch {torch.__version__}, {torch.get_num_threads()} threads, {precision.name}; "
        f"median of {rounds} rounds in turns\n"
    )
    print(
        "| workload | members | packed rows/s | x loader | x loop | x processes | x vmap "
        "| share of the roof | seconds per epoch of the preset |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    notes, costs = [], []
    for name in options.workload:
        workload = WORKLOADS[name]
        members = [1, 10] if options.quick else list(options.members or workload.members)
        bench = Bench(name, device, precision, seconds)
        speed = measure(bench, members, rounds)
        print("\n".join(lines(workload, speed, members)), flush=True)
        costs += [_cost_line(bench, m, speed) for m in (0, *members)]
        notes.append(
            f"{workload.words}: loader {speed['loader']:,.0f} rows/s, loop {speed['loop']:,.0f}, "
            f"processes {speed['processes']:,.0f}; matrix product "
            f"{2 * speed['roof'] / 1e9:,.0f} GFLOP/s"
        )
    print("\n" + "\n".join(notes))
    print("\n| workload | members | start and compile, s | peak memory, MiB |\n|---|---|---|---|")
    print("\n".join(costs))


def _cost_line(bench: Bench, n_members: int, speed: dict[str, float]) -> str:
    start_s, peak_mib = cost(bench, n_members, speed["loop"])
    who = str(n_members) if n_members else "one, with a loader"
    start = f"{start_s:.2f}" if n_members else "-"
    return f"| {bench.workload.words} | {who} | {start} | {peak_mib:,.0f} |"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="a short check")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--precision", default="auto", choices=["auto", "float32", "bfloat16"])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--members", type=int, nargs="+", help="instead of the workload's own")
    parser.add_argument("--workload", nargs="+", choices=WORKLOADS, default=list(WORKLOADS))
    return parser.parse_args()


if __name__ == "__main__":
    main()
