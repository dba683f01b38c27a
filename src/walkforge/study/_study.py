"""The description of a whole run: one file, typed, with defaults.

Most sections are the settings of the rooms themselves, so that a value has one owner and one
check. The study room is the only one that knows them all.
"""

import re
from dataclasses import dataclass, field
from typing import Literal

from walkforge.backtest import BacktestSetup
from walkforge.base import StudyError, parse_utc_ms, timeframe_ms
from walkforge.features import feature_set
from walkforge.folds import FoldPlan
from walkforge.labels import LabelRule
from walkforge.training import TrainingPlan


@dataclass(frozen=True, kw_only=True, slots=True)
class SimulatedMarket:
    """Bars that are made, not fetched; see `market.simulate`. They can never be promoted."""

    kind: Literal["gbm", "garch", "planted"] = "garch"
    n_bars: int = 20_000
    seed: int = 0
    edge: float = 0.2
    """Strength of the planted edge, in standard deviations of the next return."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DataSection:
    """Which bars."""

    source: Literal["folder", "sample", "simulated"] = "folder"
    """`sample` is the daily S&P 500 and NASDAQ that a dependency ships."""
    bars: str | None = None
    """Folder of one venue, laid out SYMBOL/TIMEFRAME.parquet; `--bars` sets it."""
    symbols: tuple[str, ...] = ()
    """Empty: all symbols that the source has. `--symbols FILE` sets it."""
    most_symbols: int | None = None
    """Of the symbols that the source has, only so many: those with the most bars."""
    timeframe: str = "1m"
    more_timeframes: tuple[str, ...] = ()
    """Every symbol is one more series, with models of its own, per further timeframe."""
    start: str | None = None
    """First opening time, such as 2024-01-01, UTC."""
    end: str | None = None
    """Bars open before this time."""
    newest_bars: int | None = None
    """Only so many of the last bars of every series."""
    simulated: SimulatedMarket = field(default_factory=SimulatedMarket)

    def __post_init__(self) -> None:
        for timeframe in self.timeframes:
            timeframe_ms(timeframe)
        if len(set(self.timeframes)) < len(self.timeframes):
            raise StudyError(
                f"data.timeframe and data.more_timeframes are {', '.join(self.timeframes)}; "
                "expected each once"
            )
        for name in ("most_symbols", "newest_bars"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise StudyError(f"data.{name} is {value}; expected at least 1, or null for all")
        for text in (self.start, self.end):
            if text is not None:
                parse_utc_ms(text)

    @property
    def timeframes(self) -> tuple[str, ...]:
        """Return all timeframes, `timeframe` first."""
        return (self.timeframe, *self.more_timeframes)


@dataclass(frozen=True, kw_only=True, slots=True)
class FeatureSection:
    """What a model sees."""

    set: str = "v8"
    window_bars: int = 1
    """Rows of features that one prediction sees, the decision's own included."""
    scaler: Literal["standard", "robust", "none"] = "standard"

    def __post_init__(self) -> None:
        feature_set(self.set)
        if self.window_bars < 1:
            raise StudyError(f"features.window_bars is {self.window_bars}; expected at least 1")


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelSection:
    """Which network; a model reads the fields that its line names."""

    name: Literal["mlp", "gru"] = "mlp"
    widths: tuple[int, ...] = (512, 256, 128)
    """mlp."""
    norm: Literal["layer", "batch", "none"] = "layer"
    """mlp; the same layers in training and in prediction."""
    hidden: int = 64
    """gru."""
    layers: int = 1
    """gru."""
    dropout: float = 0.0

    def __post_init__(self) -> None:
        if min((self.hidden, self.layers, *self.widths)) < 1:
            raise StudyError("model.widths, model.hidden and model.layers must be at least 1")
        if not 0 <= self.dropout < 1:
            raise StudyError(f"model.dropout is {self.dropout}; expected 0 to below 1")

    def options(self) -> dict[str, object]:
        """Return what the named model is built from."""
        own = {"mlp": ("widths", "norm", "dropout"), "gru": ("hidden", "layers", "dropout")}
        return {name: getattr(self, name) for name in own[self.name]}


@dataclass(frozen=True, kw_only=True, slots=True)
class DeviceSection:
    """Where and how exactly the networks are computed."""

    device: str = "auto"
    """auto, cpu, cuda or cuda:n."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    compile: bool = False
    """Fuse what lies between matrix products: faster steps after a minute of compiling; the
    results differ in their last digits. Needs a C++ compiler, on a GPU Triton."""


@dataclass(frozen=True, kw_only=True, slots=True)
class JudgeSection:
    """How predictions are measured and judged."""

    calibration: Literal["temperature", "platt", "isotonic", "none"] = "temperature"
    baselines: tuple[Literal["majority", "prior", "persistence", "logistic", "lightgbm"], ...] = (
        "majority",
        "prior",
        "persistence",
        "logistic",
        "lightgbm",
    )
    profile: Literal["default", "v8"] = "default"
    n_resamples: int = 1000
    """Block-bootstrap resamples behind every interval."""
    n_trials: int = 1
    """Settings that were tried to arrive at this study, itself included; every seed is a trial of
    its own. They raise the bar of the deflated Sharpe ratio."""
    min_edge: float = 0.0
    """Least lead of p_up over p_down, or the other way round, for a trade."""

    def __post_init__(self) -> None:
        if not self.baselines or len(set(self.baselines)) < len(self.baselines):
            raise StudyError(
                f"judge.baselines is {list(self.baselines)}; expected at least one, each once"
            )
        if self.n_trials < 1:
            raise StudyError(f"judge.n_trials is {self.n_trials}; this one counts, so at least 1")
        if self.n_resamples < 100:
            raise StudyError(f"judge.n_resamples is {self.n_resamples}; expected at least 100")
        if not 0 <= self.min_edge < 1:
            raise StudyError(f"judge.min_edge is {self.min_edge}; expected 0 to below 1")


@dataclass(frozen=True, kw_only=True, slots=True)
class Study:
    """One run, from bars to report."""

    name: str = "study"
    note: str = ""
    """What the study is for, in a sentence; the report prints it."""
    seeds: tuple[int, ...] = (0,)
    """Every symbol and fold is trained once per seed."""
    data: DataSection = field(default_factory=DataSection)
    features: FeatureSection = field(default_factory=FeatureSection)
    labels: LabelRule = field(default_factory=LabelRule)
    folds: FoldPlan = field(default_factory=FoldPlan)
    model: ModelSection = field(default_factory=ModelSection)
    training: TrainingPlan = field(default_factory=TrainingPlan)
    device: DeviceSection = field(default_factory=DeviceSection)
    judge: JudgeSection = field(default_factory=JudgeSection)
    backtest: BacktestSetup = field(default_factory=BacktestSetup)

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[A-Za-z0-9._-]+", self.name):
            raise StudyError(f"name is {self.name!r}; expected letters, digits and . _ - only")
        if not self.seeds or len(set(self.seeds)) < len(self.seeds):
            raise StudyError(f"seeds is {list(self.seeds)}; expected different whole numbers")
        if not all(0 <= seed < 2**31 for seed in self.seeds):
            raise StudyError(f"seeds is {list(self.seeds)}; expected numbers from 0 to 2147483647")
        if self.labels.kind == "triple_barrier" and self.labels.bracket != self.backtest.bracket:
            raise StudyError(
                "labels.bracket and backtest.bracket differ; a triple-barrier label means the "
                "trade that the backtest makes, so set both alike"
            )
