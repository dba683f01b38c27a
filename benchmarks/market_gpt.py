"""Training a MarketGPT against the loop that most people copy; needs torch and numpy alone.

    python benchmarks/market_gpt.py [--quick] [--device cuda] [--cases c b a] [--compiled]

For the three cases, tokens per second of `train_gpt` and of the plain loop in `_plain_gpt.py`,
which is eager always. Both have the same widths, vocabulary, context, batch, embeddings of asset
and category, tied head, dropout and precision, and clip the gradient; attention weights are not
dropped in either. Tokens are random, which changes no speed.

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
moments of AdamW, compiling, recording) and peak memory beyond the libraries (on CUDA that of
tensors alone) are measured in processes of their own; not with --quick.
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
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))  # runs without installing

from _gpt_cases import CASES, Setting
from _gpt_roof import matrix_rate, memory_rate, roof_tokens_per_s
from _plain_gpt import CLIP_NORM, LEARNING_RATE, plain_rounds
from _side_by_side import hardware

from walkforge.base import (
    Precision,
    choose_device,
    choose_precision,
    peak_resident_bytes,
    write_json,
)
from walkforge.models import MarketGpt
from walkforge.training import (
    AssetTokens,
    GptPlan,
    TokenTable,
    flops_per_token,
    peak_flops,
    train_gpt,
)

# Memory that the trainer frees and takes again settles in its first steps.
_WARM_ROUNDS = 2
_LATER_EPOCHS = 2  # what a start is compared with
_RATE_S = 0.5
_MIB = 2**20
_SPEED_HEAD = (
    "case", "windows x steps a round", "tokens/s", "plain loop tokens/s",
    "ratio (rounds from, to)", "MFU", "share of the roof",
)  # fmt: skip
_COST_HEAD = ("case", "who", "start and compile, s", "peak memory, MiB")


@dataclass
class Turns:
    """Watches a training; notes every epoch, and lets `others` have their turn after it."""

    others: Callable[[], None] = lambda: None
    tokens_per_s: list[float] = field(default_factory=list)
    at_s: list[float] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def note(self, text: str) -> None:
        """Keep a warning."""
        if text.startswith("warning") and "not shown" not in text:
            self.warnings.append(text)

    def doing(self, what: str) -> None:
        """Go on."""

    def step(self, epoch: int, step: int, n_steps: int) -> None:
        """Go on."""

    def epoch(self, report: dict) -> None:
        """Keep the epoch's speed."""
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


def train_rounds(setting: Setting, rounds: int, watcher: Turns) -> None:
    """Train an epoch a round with the project's own trainer."""
    plan = GptPlan(
        epochs=rounds,
        batch_windows=setting.windows,
        steps_per_epoch=setting.n_steps,
        learning_rate=LEARNING_RATE,
        clip_norm=CLIP_NORM,
        patience=rounds,
    )
    train_gpt(
        MarketGpt(setting.shape).to(setting.device),
        _table(*setting.tokens(), setting.shape.context),
        plan,
        seed=0,
        precision=setting.precision,
        compiled=setting.compiled,
        watcher=watcher,
    )


def measure(setting: Setting, rounds: int, rate_s: float) -> Speeds:
    """Return tokens/s of both and the device's rates; they take turns, round by round."""
    plain, matrix, memory = [], [], []
    loop, device = plain_rounds(setting), setting.device

    def others() -> None:
        plain.append(next(loop))
        matrix.append(matrix_rate(device, setting.precision, rate_s))
        memory.append(memory_rate(device, rate_s))

    turns = Turns(others)
    train_rounds(setting, _WARM_ROUNDS + rounds, turns)
    found = (turns.tokens_per_s, plain, matrix, memory)
    return Speeds(*(speeds[_WARM_ROUNDS:] for speeds in found), warnings=turns.warnings)


def facts(setting: Setting, speeds: Speeds) -> dict[str, Any]:
    """Return everything that was found out about a case's speed, as plain data."""
    ours, plain, matrix, memory = (
        statistics.median(found)
        for found in (speeds.ours, speeds.plain, speeds.matrix, speeds.memory)
    )
    ratios = [a / b for a, b in zip(speeds.ours, speeds.plain, strict=True)]
    peak = peak_flops(setting.device, setting.precision)
    roof = roof_tokens_per_s(setting, matrix, memory)
    return {
        "case": setting.name,
        "windows": setting.windows,
        "steps_per_round": setting.n_steps,
        "tokens_per_s": ours,
        "plain_tokens_per_s": plain,
        "ratio": ours / plain,
        "ratios": ratios,
        "mfu_frac": None if peak is None else ours * flops_per_token(setting.shape) / peak,
        "roof_frac": ours / roof,
        "roof_tokens_per_s": roof,
        "matrix_flops": matrix,
        "memory_bytes_per_s": memory,
        "warnings": speeds.warnings,
    }


def cost(setting: Setting, ours: bool) -> dict[str, float]:
    """Return seconds of starting, and peak MiB beyond the libraries, in a process of its own."""
    anew = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=anew) as processes:
        return processes.submit(_cost_here, setting, ours).result()


def _cost_here(setting: Setting, ours: bool) -> dict[str, float]:
    on_cuda = setting.device.type == "cuda"
    _use(setting.precision)
    libraries = 0 if on_cuda else peak_resident_bytes()
    began, turns = time.perf_counter(), Turns()
    if ours:
        train_rounds(setting, 1 + _LATER_EPOCHS, turns)
    else:
        for tokens_per_s in itertools.islice(plain_rounds(setting), 1 + _LATER_EPOCHS):
            turns.epoch({"tokens_per_s": tokens_per_s})
    first, *later = (b - a for a, b in itertools.pairwise([began, *turns.at_s]))
    peak = torch.cuda.max_memory_allocated(setting.device) if on_cuda else peak_resident_bytes()
    return {"start_s": first - min(later), "peak_mib": (peak - libraries) / _MIB}


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


def speed_row(found: dict[str, Any]) -> str:
    """Return the row of a case in the first table."""
    mfu = "-" if found["mfu_frac"] is None else f"{found['mfu_frac']:.1%}"
    return _row(
        CASES[found["case"]].words,
        f"{found['windows']} x {found['steps_per_round']}",
        f"{found['tokens_per_s']:,.0f}",
        f"{found['plain_tokens_per_s']:,.0f}",
        f"{found['ratio']:.2f} ({min(found['ratios']):.2f}, {max(found['ratios']):.2f})",
        mfu,
        f"{found['roof_frac']:.0%}",
    )


def roof_note(found: dict[str, Any]) -> str:
    """Return what the roof was made of, and what went wrong."""
    line = (
        f"{CASES[found['case']].words}: matrix product {found['matrix_flops'] / 1e9:,.0f} GFLOP/s, "
        f"copy {found['memory_bytes_per_s'] / 1e9:,.1f} GB/s, hence a roof of "
        f"{found['roof_tokens_per_s']:,.0f} tokens/s"
    )
    return "\n".join([line, *found["warnings"]])


def cost_rows(found: dict[str, Any], compiled: bool) -> Iterator[str]:
    """Return what each of the two costs besides, as rows of the second table."""
    who = {"ours": "`train_gpt`, compiled" if compiled else "`train_gpt`", "plain": "plain loop"}
    for key, words in who.items():
        one = found["costs"][key]
        case = CASES[found["case"]].words
        yield _row(case, words, f"{one['start_s']:.2f}", f"{one['peak_mib']:,.0f}")


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def _head(cells: tuple[str, ...]) -> str:
    return "\n".join(["", _row(*cells), _row(*["---"] * len(cells))])


def main() -> None:
    """Measure and print, case by case."""
    options = _arguments()
    device, _ = choose_device(options.device)
    precision, _ = choose_precision(options.precision, device)
    _use(precision)
    where = _where(device, precision, options)
    print(f"{', '.join(f'{key} {value}' for key, value in where.items())}\n{_head(_SPEED_HEAD)}")
    cases = []
    for name in options.cases:
        setting = _setting(name, device, precision, options)
        cases.append(facts(setting, measure(setting, options.rounds, options.rate_s)))
        print(speed_row(cases[-1]), flush=True)
        _let_go(setting)
        if not options.quick:
            cases[-1]["costs"] = {who: cost(setting, who == "ours") for who in ("ours", "plain")}
    print("\n" + "\n".join(map(roof_note, cases)))
    if not options.quick:
        print(_head(_COST_HEAD))
        print("\n".join(row for one in cases for row in cost_rows(one, options.compiled)))
    if options.json:
        write_json(options.json, {**where, "cases": cases})


def _where(
    device: torch.device, precision: Precision, options: argparse.Namespace
) -> dict[str, Any]:
    on_cuda = device.type == "cuda"
    return {
        "hardware": torch.cuda.get_device_name(device) if on_cuda else hardware(),
        "torch": str(torch.__version__),
        "threads": torch.get_num_threads(),
        "precision": precision.name,
        "compiled": options.compiled,
        "rounds": options.rounds,
    }


def _setting(
    name: str, device: torch.device, precision: Precision, options: argparse.Namespace
) -> Setting:
    case = CASES[name]
    windows, n_steps = case.on_cuda if device.type == "cuda" else case.on_cpu
    return Setting(
        name,
        device,
        precision,
        compiled=options.compiled,
        windows=options.windows or windows,
        n_steps=options.steps or n_steps,
        workers=options.workers,
    )


def _let_go(setting: Setting) -> None:
    """Leave the device to the next process."""
    if setting.compiled:
        torch.compiler.reset()
    gc.collect()
    if setting.device.type == "cuda":
        torch.cuda.empty_cache()


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--device", default="auto")
    parser.add_argument("--precision", default="auto", choices=["auto", "float32", "bfloat16"])
    parser.add_argument("--compiled", action="store_true", help="`train_gpt` compiles its steps")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, help="of a round, instead of the case's own")
    parser.add_argument("--windows", type=int, help="of a step, instead of the case's own")
    parser.add_argument(
        "--workers", type=int, default=0, help="processes of the plain loop's DataLoader"
    )
    parser.add_argument("--json", type=Path, help="write everything there as well")
    parser.add_argument(
        "--quick", action="store_true", help="one step of one window: does it run at all?"
    )
    parser.set_defaults(rate_s=_RATE_S)
    options = parser.parse_args()
    if options.quick:
        options.windows, options.steps, options.rounds, options.rate_s = 1, 1, 1, 0.05
    return options


if __name__ == "__main__":
    main()
