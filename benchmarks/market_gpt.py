"""Training a MarketGPT against the loop that most people copy; needs torch and numpy alone.

    python benchmarks/market_gpt.py [--quick] [--device cuda] [--cases c b a] [--compile]

For the three cases, tokens per second of `train_gpt` and of a plain eager loop: an `nn.Module` with
learned positions, LayerNorm, biases and `scaled_dot_product_attention(is_causal=True)`, a `Dataset`
that slices one window with `torch.tensor`, `DataLoader(shuffle=True)`, AdamW as it comes, and
`loss.item()` after every step. Both have the same widths, vocabulary, context, batch, embeddings of
asset and category, tied head, dropout and precision, and clip the gradient; attention weights are
not dropped in either. Tokens are random, which changes no speed.

They take turns in one process: after every epoch of the trainer the plain loop takes as many steps,
then matrix and memory rate of the device are measured; medians over rounds, without the first two.
Only steps count, no validation. Freed memory stays with the process in both their turns, which a
plain loop would not have on its own: on a CPU the ratio is the smaller for it.

MFU is operations per second (`flops_per_token`) over the device's peak by its data sheet. The share
of the roof is the speed over that of a step which takes

    operations / matrix rate + bytes / memory rate

with both rates measured in the same rounds, on a large product and a large copy. The terms add up:
what lies between products waits for them. Operations are those of MFU; bytes are counted in
`bytes_per_step`. On a CPU caches keep a part of what is counted there as read from memory.

What starting costs (how much longer the first epoch and all before it take than a later one: first
moments of AdamW, compiling, recording graphs) and peak memory beyond the libraries (on CUDA that of
tensors alone) are measured in processes of their own.

Shapes: B windows, T tokens of a window, D width, H heads, W width of a head, V vocabulary
"""

import argparse
import gc
import itertools
import multiprocessing
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))  # runs without installing

from _side_by_side import hardware

from walkforge.base import Precision, choose_device, choose_precision, peak_resident_bytes
from walkforge.models import GptShape, MarketGpt, gpt_parameters
from walkforge.training import (
    AssetTokens,
    GptPlan,
    TokenTable,
    flops_per_token,
    peak_flops,
    train_gpt,
)

_LEARNING_RATE, _CLIP_NORM = 6e-4, 1.0
# Memory that the trainer frees and takes again settles in its first steps.
_WARM_ROUNDS = 2
_LATER_EPOCHS = 2  # what a start is compared with
_MIB = 2**20
_HEAD = (
    "case", "windows x steps a round", "tokens/s", "plain loop tokens/s",
    "ratio (rounds from, to)", "MFU", "share of the roof",
)  # fmt: skip


@dataclass(frozen=True)
class Case:
    """One size of model, and how much of it is measured in a round."""

    words: str
    shape: GptShape
    on_cuda: tuple[int, int]
    """Windows of a step, steps of a round."""
    on_cpu: tuple[int, int]
    """The same: little, so that all cases together take minutes."""
    quick: tuple[int, int] = (1, 1)


CASES = {
    "c": Case(
        "C: 20 assets, 256 wide, 6 layers, context 128",
        GptShape(
            vocabulary=1024, context=128, d_model=256, layers=6, heads=8, d_ff=1024,
            n_assets=20, n_categories=1, asset_width=16, category_width=8,
        ),
        on_cuda=(64, 200),
        on_cpu=(32, 4),
        quick=(8, 2),
    ),
    "b": Case(
        "B: 100 assets, 512 wide, 8 layers, context 256",
        GptShape(
            vocabulary=2048, context=256, d_model=512, layers=8, heads=8, d_ff=2048,
            n_assets=100, n_categories=4, asset_width=32, category_width=16,
        ),
        on_cuda=(64, 100),
        on_cpu=(4, 2),
    ),
    "a": Case(
        "A: 600 assets, 768 wide, 12 layers, context 512",
        GptShape(
            vocabulary=4096, context=512, d_model=768, layers=12, heads=12, d_ff=3072,
            n_assets=600, n_categories=5, asset_width=64, category_width=32,
        ),
        on_cuda=(64, 40),
        on_cpu=(2, 2),
    ),
}  # fmt: skip


class PlainGpt(nn.Module):
    """The network that is copied most: GPT-2's block, with a row for asset and category added."""

    def __init__(self, shape: GptShape) -> None:
        super().__init__()
        width = shape.d_model
        self.tokens = nn.Embedding(shape.vocabulary, width)
        self.positions = nn.Embedding(shape.context, width)
        self.assets = nn.Embedding(shape.n_assets, shape.asset_width)
        self.assets_to_width = nn.Linear(shape.asset_width, width)
        self.categories = nn.Embedding(shape.n_categories, shape.category_width)
        self.categories_to_width = nn.Linear(shape.category_width, width)
        self.dropout = nn.Dropout(shape.dropout)
        self.blocks = nn.ModuleList(PlainBlock(shape) for _ in range(shape.layers))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, shape.vocabulary, bias=False)
        self.head.weight = self.tokens.weight
        nn.init.normal_(self.tokens.weight, std=0.02)

    def forward(self, tokens_BT: Tensor, assets_B: Tensor, categories_B: Tensor) -> Tensor:
        places_T = torch.arange(tokens_BT.size(1), device=tokens_BT.device)
        row_BD = self.assets_to_width(self.assets(assets_B))
        row_BD = row_BD + self.categories_to_width(self.categories(categories_B))
        h_BTD = self.tokens(tokens_BT) + self.positions(places_T) + row_BD.unsqueeze(1)
        h_BTD = self.dropout(h_BTD)
        for block in self.blocks:
            h_BTD = block(h_BTD)
        return self.head(self.norm(h_BTD))


class PlainBlock(nn.Module):
    """LayerNorm, attention, LayerNorm, feed-forward."""

    def __init__(self, shape: GptShape) -> None:
        super().__init__()
        width = shape.d_model
        self.heads = shape.heads
        self.norm_1 = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.norm_2 = nn.LayerNorm(width)
        self.up = nn.Linear(width, shape.d_ff)
        self.down = nn.Linear(shape.d_ff, width)
        self.dropout = nn.Dropout(shape.dropout)

    def forward(self, h_BTD: Tensor) -> Tensor:
        B, T, D = h_BTD.shape
        qkv = self.qkv(self.norm_1(h_BTD)).split(D, dim=2)
        q_BHTW, k_BHTW, v_BHTW = (x.view(B, T, self.heads, -1).transpose(1, 2) for x in qkv)
        mixed_BHTW = functional.scaled_dot_product_attention(q_BHTW, k_BHTW, v_BHTW, is_causal=True)
        mixed_BTD = mixed_BHTW.transpose(1, 2).contiguous().view(B, T, D)
        h_BTD = h_BTD + self.dropout(self.out(mixed_BTD))
        return h_BTD + self.dropout(self.down(functional.gelu(self.up(self.norm_2(h_BTD)))))


class PlainWindows(Dataset):
    """Every window of every asset, sliced when it is asked for."""

    def __init__(self, tokens: np.ndarray, categories: np.ndarray, context: int) -> None:
        self.tokens, self.categories, self.context = tokens, categories, context
        self.per_asset = tokens.shape[1] - context

    def __len__(self) -> int:
        return len(self.tokens) * self.per_asset

    def __getitem__(self, number: int) -> tuple[Tensor, Tensor, int, int]:
        asset, start = divmod(number, self.per_asset)
        window = self.tokens[asset, start : start + self.context + 1]
        inputs = torch.tensor(window[:-1], dtype=torch.long)
        targets = torch.tensor(window[1:], dtype=torch.long)
        return inputs, targets, asset, int(self.categories[asset])


@dataclass(frozen=True)
class Bench:
    """One case on one device: its tokens, and the two who learn them."""

    name: str
    device: torch.device
    precision: Precision
    compiled: bool
    batch_windows: int
    n_steps: int
    """Of a round."""
    workers: int
    """Processes of the plain loop's DataLoader."""

    @property
    def case(self) -> Case:
        """Return what is measured."""
        return CASES[self.name]

    @property
    def step_tokens(self) -> int:
        """Return how many tokens are learned from in a step."""
        return self.batch_windows * self.case.shape.context

    def tokens(self) -> tuple[np.ndarray, np.ndarray]:
        """Return random tokens, assets x bars, and the category of each asset."""
        shape, random = self.case.shape, np.random.default_rng(0)
        n_bars = max(4 * shape.context, 100_000 // shape.n_assets)
        tokens = random.integers(0, shape.vocabulary, (shape.n_assets, n_bars))
        return tokens, np.arange(shape.n_assets) % shape.n_categories

    def train(self, rounds: int, watcher: "Turns") -> None:
        """Train an epoch a round with the project's own trainer."""
        model = MarketGpt(self.case.shape).to(self.device)
        plan = GptPlan(
            epochs=rounds,
            batch_windows=self.batch_windows,
            steps_per_epoch=self.n_steps,
            learning_rate=_LEARNING_RATE,
            clip_norm=_CLIP_NORM,
            patience=rounds,
        )
        train_gpt(
            model,
            _table(*self.tokens(), self.case.shape.context),
            plan,
            seed=0,
            precision=self.precision,
            compiled=self.compiled,
            watcher=watcher,
        )

    def plain(self) -> Iterator[float]:
        """Train with the plain loop; return tokens/s, round by round, for ever."""
        step = self._plain_step(PlainGpt(self.case.shape).to(self.device).train())
        batches = itertools.chain.from_iterable(itertools.repeat(self._loader()))
        total_loss = 0.0
        while True:
            started = time.perf_counter()
            for batch in itertools.islice(batches, self.n_steps):
                total_loss += step(batch).item()
            self._wait()
            yield self.n_steps * self.step_tokens / (time.perf_counter() - started)

    def _loader(self) -> DataLoader:
        return DataLoader(
            PlainWindows(*self.tokens(), self.case.shape.context),
            batch_size=self.batch_windows,
            shuffle=True,
            drop_last=True,
            num_workers=self.workers,
            pin_memory=self.device.type == "cuda",
        )

    def _plain_step(self, model: PlainGpt) -> Callable[[list[Tensor]], Tensor]:
        optimizer = torch.optim.AdamW(model.parameters(), lr=_LEARNING_RATE)
        scaler = torch.amp.GradScaler(self.device.type, enabled=self.precision.scales_losses)

        def step(batch: list[Tensor]) -> Tensor:
            inputs, targets, *whose = (x.to(self.device, non_blocking=True) for x in batch)
            optimizer.zero_grad()
            with self._autocast():
                logits = model(inputs, *whose)
                loss = functional.cross_entropy(logits.flatten(0, 1), targets.flatten())
            scaler.scale(loss).backward()
            scaler.unscale_(optimizer)
            nn.utils.clip_grad_norm_(model.parameters(), _CLIP_NORM)
            scaler.step(optimizer)
            scaler.update()
            return loss

        return step

    def matrix_rate(self, seconds: float) -> float:
        """Return operations per second of a large matrix product."""
        size = 8192 if self.device.type == "cuda" else 2048
        kind = getattr(torch, self.precision.name)
        a, b, out = (torch.randn(size, size, device=self.device).to(kind) for _ in range(3))
        return 2.0 * size**3 * self._per_s(lambda: torch.mm(a, b, out=out), seconds)

    def memory_rate(self, seconds: float) -> float:
        """Return bytes per second, read and written, of a copy that no cache holds."""
        n_bytes = (1024 if self.device.type == "cuda" else 256) * _MIB
        a, b = (torch.ones(n_bytes // 4, device=self.device) for _ in range(2))
        return 2.0 * n_bytes * self._per_s(lambda: b.copy_(a), seconds)

    def _per_s(self, act: Callable[[], object], seconds: float) -> float:
        act()
        self._wait()
        n_times, started = 0, time.perf_counter()
        while (taken := time.perf_counter() - started) < seconds:
            act()
            self._wait()
            n_times += 1
        return n_times / taken

    def _autocast(self):
        if not self.precision.autocast:
            return nullcontext()
        return torch.autocast(self.device.type, dtype=getattr(torch, self.precision.name))

    def _wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)


@dataclass
class Turns:
    """Watches a training; notes every epoch, and lets `others` have their turn after it."""

    others: Callable[[], None] = lambda: None
    tokens_per_s: list[float] = field(default_factory=list)
    at_s: list[float] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def note(self, text: str) -> None:
        if text.startswith("warning") and "not shown" not in text:
            self.warnings.append(text)

    def doing(self, what: str) -> None: ...

    def step(self, epoch: int, step: int, n_steps: int) -> None: ...

    def epoch(self, report: dict) -> None:
        self.tokens_per_s.append(report["tokens_per_s"])
        self.at_s.append(time.perf_counter())
        self.others()


@dataclass(frozen=True)
class Speeds:
    """What every round came to, the first ones left out."""

    ours: list[float]
    plain: list[float]
    matrix: list[float]
    memory: list[float]
    warnings: list[str]


def measure(bench: Bench, rounds: int, seconds: float) -> Speeds:
    """Return tokens/s of both and the device's rates; they take turns, round by round."""
    plain, matrix, memory = [], [], []
    loop = bench.plain()

    def others() -> None:
        plain.append(next(loop))
        matrix.append(bench.matrix_rate(seconds))
        memory.append(bench.memory_rate(seconds))

    turns = Turns(others)
    bench.train(_WARM_ROUNDS + rounds, turns)
    found = (turns.tokens_per_s, plain, matrix, memory)
    return Speeds(*(speeds[_WARM_ROUNDS:] for speeds in found), warnings=turns.warnings)


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


def roof_tokens_per_s(bench: Bench, matrix_rate: float, memory_rate: float) -> float:
    """Return the tokens/s of a step that nothing but arithmetic and memory holds up."""
    shape, n_tokens = bench.case.shape, bench.step_tokens
    number_bytes = 2 if bench.precision.autocast else 4
    arithmetic_s = n_tokens * flops_per_token(shape) / matrix_rate
    traffic_s = bytes_per_step(shape, n_tokens, number_bytes) / memory_rate
    return n_tokens / (arithmetic_s + traffic_s)


def cost(bench: Bench, ours: bool) -> tuple[float, float]:
    """Return seconds of starting, and peak MiB beyond the libraries, in a process of its own."""
    anew = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=anew) as processes:
        return processes.submit(_cost_here, bench, ours).result()


def _cost_here(bench: Bench, ours: bool) -> tuple[float, float]:
    on_cuda = bench.device.type == "cuda"
    _use(bench.precision)
    libraries = 0 if on_cuda else peak_resident_bytes()
    began, turns = time.perf_counter(), Turns()
    if ours:
        bench.train(1 + _LATER_EPOCHS, turns)
    else:
        loop = bench.plain()
        for _ in range(1 + _LATER_EPOCHS):
            turns.epoch({"tokens_per_s": next(loop)})
    first, *later = (b - a for a, b in itertools.pairwise([began, *turns.at_s]))
    peak = torch.cuda.max_memory_allocated(bench.device) if on_cuda else peak_resident_bytes()
    return first - min(later), (peak - libraries) / _MIB


def _table(tokens: np.ndarray, categories: np.ndarray, context: int) -> TokenTable:
    """Return all as training rows but a window of the first asset, which stands for validation."""
    n_assets, n_bars = tokens.shape
    piece = np.zeros((n_assets, n_bars), np.int8)
    piece[0, -context:] = 1
    return TokenTable.of(
        [
            AssetTokens(
                asset=asset,
                category=int(categories[asset]),
                tokens=tokens[asset].astype(np.uint16),
                valid=np.ones(n_bars, bool),
                segment=np.zeros(n_bars, np.int64),
                piece=piece[asset],
            )
            for asset in range(n_assets)
        ]
    )


def _use(precision: Precision) -> None:
    torch.set_float32_matmul_precision("high" if precision.tf32 else "highest")


def speed_row(bench: Bench, speeds: Speeds) -> tuple[str, ...]:
    """Return the row of the Markdown table."""
    ours, plain = statistics.median(speeds.ours), statistics.median(speeds.plain)
    ratios = [a / b for a, b in zip(speeds.ours, speeds.plain, strict=True)]
    peak = peak_flops(bench.device, bench.precision)
    mfu = "-" if peak is None else f"{ours * flops_per_token(bench.case.shape) / peak:.1%}"
    return (
        bench.case.words,
        f"{bench.batch_windows} x {bench.n_steps}",
        f"{ours:,.0f}",
        f"{plain:,.0f}",
        f"{ours / plain:.2f} ({min(ratios):.2f}, {max(ratios):.2f})",
        mfu,
        f"{ours / _roof(bench, speeds):.0%}",
    )


def roof_note(bench: Bench, speeds: Speeds) -> str:
    """Return what the roof was made of, and what went wrong."""
    matrix, memory = statistics.median(speeds.matrix), statistics.median(speeds.memory)
    line = (
        f"{bench.case.words}: matrix product {matrix / 1e9:,.0f} GFLOP/s, copy "
        f"{memory / 1e9:,.1f} GB/s, hence a roof of {_roof(bench, speeds):,.0f} tokens/s"
    )
    return "\n".join([line, *speeds.warnings])


def _roof(bench: Bench, speeds: Speeds) -> float:
    rates = statistics.median(speeds.matrix), statistics.median(speeds.memory)
    return roof_tokens_per_s(bench, *rates)


def cost_rows(bench: Bench) -> Iterator[tuple[str, ...]]:
    """Return what each of the two costs besides, as rows of the second table."""
    ours = "`train_gpt`, compiled" if bench.compiled else "`train_gpt`"
    for who in (ours, "plain loop"):
        start_s, peak_mib = cost(bench, ours=who == ours)
        yield bench.case.words, who, f"{start_s:.2f}", f"{peak_mib:,.0f}"


def markdown(*cells: str) -> str:
    """Return a line of a Markdown table."""
    return f"| {' | '.join(cells)} |"


def main() -> None:
    """Measure and print, case by case."""
    options = _arguments()
    device, _ = choose_device(options.device)
    precision, _ = choose_precision(options.precision, device)
    _use(precision)
    rounds, seconds = (1, 0.1) if options.quick else (options.rounds, 0.5)
    _print_head(device, precision, options, rounds)
    notes, costs = [], []
    for name in options.cases or (["c"] if options.quick else list(CASES)):
        bench = _bench(name, device, precision, options)
        speeds = measure(bench, rounds, seconds)
        print(markdown(*speed_row(bench, speeds)), flush=True)
        notes.append(roof_note(bench, speeds))
        _let_go(device)
        costs += [markdown(*row) for row in cost_rows(bench)]
    print("\n" + "\n".join(notes))
    head = ("case", "who", "start and compile, s", "peak memory, MiB")
    print("\n" + "\n".join([markdown(*head), markdown(*["---"] * len(head)), *costs]))


def _let_go(device: torch.device) -> None:
    """Leave the device to the next process."""
    torch.compiler.reset()
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()


def _print_head(
    device: torch.device, precision: Precision, options: argparse.Namespace, rounds: int
) -> None:
    on_cuda = device.type == "cuda"
    where = torch.cuda.get_device_name(device) if on_cuda else hardware()
    how = "compiled" if options.compile else "not compiled"
    print(
        f"{where}; torch {torch.__version__}, {torch.get_num_threads()} threads, {precision.name}, "
        f"`train_gpt` {how}; median of {rounds} rounds in turns"
    )
    if not on_cuda or options.quick:
        print("few steps of small batches, so that it takes minutes")
    print(f"\n{markdown(*_HEAD)}\n{markdown(*['---'] * len(_HEAD))}")


def _bench(
    name: str, device: torch.device, precision: Precision, options: argparse.Namespace
) -> Bench:
    case = CASES[name]
    windows, n_steps = case.on_cuda if device.type == "cuda" else case.on_cpu
    if options.quick:
        windows, n_steps = case.quick
    return Bench(
        name,
        device,
        precision,
        compiled=options.compile,
        batch_windows=options.batch_windows or windows,
        n_steps=n_steps,
        workers=options.workers,
    )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="a short check, of case C by default")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--precision", default="auto", choices=["auto", "float32", "bfloat16"])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--cases", nargs="+", choices=CASES, help="all by default")
    parser.add_argument("--compile", action="store_true", help="`train_gpt` compiles its steps")
    parser.add_argument("--batch-windows", type=int, help="of a step, instead of the case's own")
    parser.add_argument(
        "--workers", type=int, default=0, help="processes of the plain loop's DataLoader"
    )
    return parser.parse_args()


if __name__ == "__main__":
    main()
