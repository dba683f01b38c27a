"""The description of a run of MarketGPT: one model of tokens for all series together."""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from walkforge.base import StudyError
from walkforge.features import TokenizerRule
from walkforge.models import GptShape
from walkforge.training import GptPlan

from ._study import Study


@dataclass(frozen=True, kw_only=True, slots=True)
class GptModelSection:
    """How large the model is; the usual sizes are those of case C, see `docs/study.md`."""

    name: Literal["marketgpt"] = "marketgpt"
    d_model: int = 256
    layers: int = 6
    heads: int = 8
    d_ff: int = 1024
    context: int = 128
    """Tokens, one a bar, that it reads at once."""
    asset_width: int = 16
    category_width: int = 8
    activation: Literal["gelu", "swiglu"] = "gelu"
    tied: bool = True
    """Whether the head is the token embedding."""
    dropout: float = 0.1
    decides: Literal["paths", "direction_head"] = "paths"
    """By what classes are told: sampled paths, which are forecasts too, or a linear head on the
    last hidden state, which learns any kind of label once the model is trained."""

    @property
    def forecasts(self) -> bool:
        """Return whether the model forecasts bars: sampled paths do."""
        return self.decides == "paths"

    def options(self) -> dict[str, Any]:
        """Return what its numbers depend on, by name."""
        return {k: v for k, v in asdict(self).items() if k not in ("name", "decides")}


@dataclass(frozen=True, kw_only=True, slots=True)
class SamplingSection:
    """How forecasts are made: by paths of tokens that are drawn from the model."""

    paths: int = 64
    """Drawn for each decision."""
    temperature: float = 1.0
    """1 draws by the model's own probabilities, less draws the likelier tokens more often."""
    every_bars: int = 1
    """Only each so many-th row of the calibration and test slices is decided on, by the model and
    by all baselines: sampling takes longer than anything else on a CPU."""
    most_tokens: int | None = None
    """Tokens that a decision reads, at most; None: as many as the context lets. Fewer are faster
    on a CPU."""

    def __post_init__(self) -> None:
        for name, least in (("paths", 2), ("every_bars", 1), ("most_tokens", 1)):
            value = getattr(self, name)
            if value is not None and value < least:
                raise StudyError(f"sampling.{name} is {value}; expected at least {least}")
        if not 0 < self.temperature < float("inf"):
            raise StudyError(
                f"sampling.temperature is {self.temperature}; expected a number above 0: without "
                "chance all paths are one"
            )


@dataclass(frozen=True, kw_only=True, slots=True)
class FineTuneSection:
    """What a run goes on from; `walkforge fine-tune RUN` fills it in."""

    run: str | None = None
    """Folder of a finished run of MarketGPT: its weights and tokenizers. None: from the start."""
    categories: tuple[str, ...] = ()
    """Only assets of these categories teach and are judged; empty: all."""
    method: Literal["full", "lora"] = "full"
    """`full` moves every weight; `lora` learns a low-rank change of each matrix, which is added to
    it in the end."""
    rank: int = 8
    """lora: of the change."""

    def __post_init__(self) -> None:
        if self.rank < 1:
            raise StudyError(f"fine_tune.rank is {self.rank}; expected at least 1")
        if self.run is not None:
            # A run may be resumed from another folder than it was begun in.
            object.__setattr__(self, "run", str(Path(self.run).resolve()))
        if self.run is None and (self.categories or self.method == "lora"):
            raise StudyError(
                "fine_tune has no run to go on from; use `walkforge fine-tune RUN`, or set "
                "fine_tune.run"
            )


@dataclass(frozen=True, kw_only=True, slots=True)
class GptStudy(Study):
    """One run of MarketGPT: `model.name: marketgpt` makes a study one of these.

    One model per fold and seed learns from all series together, so their folds are cut on one
    calendar: that of all moments at which any series has a row.
    """

    model: GptModelSection = field(default_factory=GptModelSection)  # type: ignore[assignment]
    training: GptPlan = field(default_factory=GptPlan)  # type: ignore[assignment]
    tokenizer: TokenizerRule = field(default_factory=TokenizerRule)
    sampling: SamplingSection = field(default_factory=SamplingSection)
    fine_tune: FineTuneSection = field(default_factory=FineTuneSection)

    def __post_init__(self) -> None:
        Study.__post_init__(self)
        self.shape(vocabulary=self.tokenizer.vocabulary, n_assets=1, n_categories=1)
        if self.folds.calendar != "common":
            raise StudyError(
                "folds.calendar is own, but one MarketGPT learns from all series: what one has in "
                "training another would have in test; set folds.calendar=common"
            )
        if self.model.forecasts and self.labels.horizon_bars > self.model.context:
            raise StudyError(
                f"labels.horizon_bars is {self.labels.horizon_bars}, model.context "
                f"{self.model.context}; a path longer than the context cannot be sampled, so raise "
                "the context or shorten the horizon"
            )

    @property
    def one_for_all(self) -> bool:
        """Return True: one model learns from all series."""
        return True

    @property
    def token_rule(self) -> TokenizerRule:
        """Return how bars become tokens."""
        return self.tokenizer

    @property
    def every_bars(self) -> int:
        """Return of how many rows of the calibration and test slices one is decided on."""
        return self.sampling.every_bars

    @property
    def prompt_tokens(self) -> int:
        """Return how many tokens a decision reads, at most.

        Of a path that would be longer than the context, too few for its steps to fit behind.
        """
        steps = self.labels.horizon_bars if self.model.forecasts else 1
        return min(self.model.context - steps + 1, self.sampling.most_tokens or self.model.context)

    def shape(self, *, vocabulary: int, n_assets: int, n_categories: int) -> GptShape:
        """Return the model's sizes; raise TrainingError or UsageError for impossible ones."""
        return GptShape(
            vocabulary=vocabulary,
            n_assets=n_assets,
            n_categories=n_categories,
            **self.model.options(),
        )
