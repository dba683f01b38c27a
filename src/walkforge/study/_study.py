"""The description of a whole run: one file, typed, with defaults.

Most sections are the settings of the rooms themselves, so that a value has one owner and one
check. The study room is the only one that knows them all.
"""

import re
from dataclasses import dataclass, field
from typing import Any, Literal

from walkforge.backtest import BacktestSetup
from walkforge.base import StudyError, parse_utc_ms, split_own, timeframe_ms
from walkforge.features import TokenizerRule, feature_set
from walkforge.folds import FoldPlan
from walkforge.labels import LabelRule
from walkforge.training import TrainingPlan

from ._tune_section import TuneSection

EVERY_VENUE = "all"
"""As `data.universe`: every symbol of every venue in the folder."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SimulatedMarket:
    """Bars that are made, not fetched; see `market.simulate`. They can never be promoted."""

    kind: Literal["gbm", "garch", "planted", "regimes", "markov"] = "garch"
    n_bars: int = 20_000
    seed: int = 0
    edge: float = 0.2
    """Largest expected move (`planted`, `markov`), in standard deviations of the next return."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DataSection:
    """Which bars."""

    source: Literal["folder", "sample", "simulated"] = "folder"
    """`sample` is the daily S&P 500 and NASDAQ that a dependency ships."""
    bars: str | None = None
    """Folder of one venue, laid out SYMBOL/TIMEFRAME.parquet; `--bars` sets it."""
    symbols: tuple[str, ...] = ()
    """Empty: all symbols that the source has. `--symbols FILE` sets it."""
    universe: str | None = None
    """Name or YAML file of a universe: those of its symbols that the source has, and of a folder's
    bars those between listed and delisted. `bars` may then be one venue's folder, or the folder
    above several. `all`: whatever lies in the folder above several venues; each venue is a
    category."""
    most_symbols: int | None = None
    """Of the symbols that the source has, only so many: those with the most bars. Without effect
    where `symbols` names them."""
    most_liquid: int | None = None
    """Decisions of only so many symbols at a time: those that were traded most in the
    `liquid_days` before, chosen anew on the first of each month. See `market.membership`."""
    liquid_days: int = 30
    """Whole days over whose median volume `most_liquid` goes."""
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
        for name in ("most_symbols", "most_liquid", "newest_bars"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise StudyError(f"data.{name} is {value}; expected at least 1, or null for all")
        if self.liquid_days < 1:
            raise StudyError(f"data.liquid_days is {self.liquid_days}; expected at least 1")
        if self.most_liquid is not None and self.timeframe == "1w":
            raise StudyError(
                "data.most_liquid asks for the volume of days, which data.timeframe 1w does not "
                "tell; use 1d or shorter"
            )
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
    own: str | None = None
    """A user's function, `PATH.py:NAME`, in place of `set`; see `docs/own_parts.md`."""
    window_bars: int = 1
    """Rows of features that one prediction sees, the decision's own included."""
    scaler: Literal["standard", "robust", "none"] = "standard"

    def __post_init__(self) -> None:
        feature_set(self.set)
        if self.own is not None:
            split_own(self.own, "features.own")
        if self.window_bars < 1:
            raise StudyError(f"features.window_bars is {self.window_bars}; expected at least 1")


_MODEL_OPTIONS = {
    "mlp": ("widths", "norm", "dropout"),
    "gru": ("hidden", "layers", "dropout"),
    "cnn_lstm": ("channels", "kernel_bars", "hidden", "layers", "dropout"),
    "bilstm": (
        "encoder",
        "bidirectional",
        "decoder",
        "decoder_hidden",
        "learned_weights",
        "dropout",
    ),
    "own": (),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelSection:
    """Which network; a model reads the fields that its line names."""

    name: Literal["mlp", "gru", "cnn_lstm", "bilstm", "own"] = "mlp"
    """All but one tell classes; `bilstm` forecasts bars, labels.horizon_bars ahead."""
    own: str | None = None
    """own: a user's function, `PATH.py:NAME`, that returns the module."""
    widths: tuple[int, ...] = (512, 256, 128)
    """mlp."""
    norm: Literal["layer", "batch", "none"] = "layer"
    """mlp; the same layers in training and in prediction."""
    channels: tuple[int, ...] = (32, 64)
    """cnn_lstm: of each convolution."""
    kernel_bars: int = 3
    """cnn_lstm: an odd number of bars that a convolution sees."""
    hidden: int = 64
    """gru, cnn_lstm."""
    layers: int = 1
    """gru, cnn_lstm."""
    encoder: tuple[int, ...] = (128, 64, 32)
    """bilstm: width of each LSTM layer, per direction."""
    bidirectional: bool = True
    """bilstm: read the window both ways; all of it is past."""
    decoder: Literal["lstm", "dense"] = "lstm"
    """bilstm: how the steps ahead come out of the window's last state."""
    decoder_hidden: int = 32
    """bilstm."""
    learned_weights: bool = False
    """bilstm: learn how much each head counts, instead of training.heads alone."""
    dropout: float = 0.0

    def __post_init__(self) -> None:
        if (self.name == "own") != (self.own is not None):
            raise StudyError(
                f"model.name is {self.name} and model.own is {self.own}; a user's model needs "
                "model.name own and model.own PATH.py:NAME, every other neither"
            )
        if self.own is not None:
            split_own(self.own, "model.own")
        for name in ("widths", "channels", "encoder"):
            if not getattr(self, name):
                raise StudyError(f"model.{name} is empty; expected at least one width")
        sizes = (self.hidden, self.layers, self.decoder_hidden, self.kernel_bars)
        if min((*sizes, *self.widths, *self.channels, *self.encoder)) < 1:
            raise StudyError("every width and count of the model section must be at least 1")
        if self.kernel_bars % 2 == 0:
            raise StudyError(f"model.kernel_bars is {self.kernel_bars}; expected an odd number")
        if not 0 <= self.dropout < 1:
            raise StudyError(f"model.dropout is {self.dropout}; expected 0 to below 1")

    @property
    def forecasts(self) -> bool:
        """Return whether the model forecasts bars; the others tell classes."""
        return self.name == "bilstm"

    def options(self) -> dict[str, Any]:
        """Return what the named model is built from."""
        return {name: getattr(self, name) for name in _MODEL_OPTIONS[self.name]}


@dataclass(frozen=True, kw_only=True, slots=True)
class DeviceSection:
    """Where and how exactly the networks are computed."""

    device: str = "auto"
    """auto, cpu, cuda or cuda:n."""
    precision: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """auto: bfloat16 on a GPU that has it, else float16 there; float32 on the CPU. Predictions are
    computed in float32 whatever trained them."""
    compile: bool = False
    """Fuse what lies between matrix products: faster steps after a minute of compiling; the
    results differ in their last digits. Needs a C++ compiler, on a GPU Triton."""
    devices: int = 1
    """marketgpt: so many of each machine's devices train one model together. `--devices` sets it;
    torchrun may start the processes instead."""
    nodes: int = 1
    """marketgpt: machines that train together. `--nodes` sets it."""
    sharded: bool = False
    """marketgpt: each device holds a part of the weights, gradients and moments (FSDP2), where one
    device's memory is too small for all of them. `--sharded` sets it."""

    def __post_init__(self) -> None:
        for name in ("devices", "nodes"):
            if getattr(self, name) < 1:
                raise StudyError(f"device.{name} is {getattr(self, name)}; expected at least 1")

    @property
    def together(self) -> bool:
        """Return whether several devices are asked for."""
        return self.devices * self.nodes > 1 or self.sharded


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
    forecast_baselines: tuple[
        Literal["persistence", "drift", "historical_volatility", "lightgbm"], ...
    ] = ("persistence", "drift", "historical_volatility", "lightgbm")
    """What a forecaster is held against, beside the classes' baselines."""
    profile: Literal["default", "v8"] = "default"
    n_resamples: int = 1000
    """Block-bootstrap resamples behind every interval."""
    n_trials: int = 1
    """Settings that were tried to arrive at this study, itself included; every seed is a trial of
    its own. They raise the bar of the deflated Sharpe ratio."""
    min_edge: float = 0.0
    """Least lead of p_up over p_down, or the other way round, for a trade."""

    def __post_init__(self) -> None:
        for name in ("baselines", "forecast_baselines"):
            found = getattr(self, name)
            if not found or len(set(found)) < len(found):
                raise StudyError(f"judge.{name} is {list(found)}; expected at least one, each once")
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
    tune: TuneSection = field(default_factory=TuneSection)

    @property
    def one_for_all(self) -> bool:
        """Return whether one model learns from all series, instead of one from each."""
        return False

    @property
    def token_rule(self) -> TokenizerRule | None:
        """Return how bars become tokens; None for models that read features."""
        return None

    @property
    def every_bars(self) -> int:
        """Return of how many rows of the calibration and test slices one is decided on."""
        return 1

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[A-Za-z0-9._-]+", self.name):
            raise StudyError(f"name is {self.name!r}; expected letters, digits and . _ - only")
        if not self.seeds or len(set(self.seeds)) < len(self.seeds):
            raise StudyError(f"seeds is {list(self.seeds)}; expected different whole numbers")
        if not all(0 <= seed < 2**31 for seed in self.seeds):
            raise StudyError(f"seeds is {list(self.seeds)}; expected numbers from 0 to 2147483647")
        if self.labels.kind == "triple_barrier" and self.model.forecasts:
            raise StudyError(
                f"labels.kind is triple_barrier, and model.name {self.model.name} forecasts the "
                "next labels.horizon_bars bars; choose quantile, threshold, volatility or direction"
            )
        if self.labels.own is not None and self.model.forecasts:
            raise StudyError(
                f"labels.own tells classes of its own, and model.name {self.model.name} forecasts "
                "the next bars and takes classes from them; name a model that tells classes"
            )
        if self.labels.kind == "triple_barrier" and self.labels.bracket != self.backtest.bracket:
            raise StudyError(
                "labels.bracket and backtest.bracket differ; a triple-barrier label means the "
                "trade that the backtest makes, so set both alike"
            )
        if self.device.together and not self.one_for_all:
            raise StudyError(
                f"device asks for several devices, but models of {self.model.name} train together "
                "on one; leave devices, nodes and sharded out, or name model marketgpt"
            )
