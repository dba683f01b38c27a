"""The description of a run of MarketGPT: one model of tokens for all series together."""

from dataclasses import asdict, dataclass, field
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

    @property
    def forecasts(self) -> bool:
        """Return True: sampled paths are forecasts of bars."""
        return True

    def options(self) -> dict[str, Any]:
        """Return the sizes by name."""
        return {name: value for name, value in asdict(self).items() if name != "name"}


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

    def __post_init__(self) -> None:
        for name, least in (("paths", 2), ("every_bars", 1)):
            if getattr(self, name) < least:
                raise StudyError(
                    f"sampling.{name} is {getattr(self, name)}; expected at least {least}"
                )
        if not 0 < self.temperature < float("inf"):
            raise StudyError(
                f"sampling.temperature is {self.temperature}; expected a number above 0: without "
                "chance all paths are one"
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

    def __post_init__(self) -> None:
        Study.__post_init__(self)
        self.shape(vocabulary=self.tokenizer.vocabulary, n_assets=1, n_categories=1)
        if self.folds.calendar != "common":
            raise StudyError(
                "folds.calendar is own, but one MarketGPT learns from all series: what one has in "
                "training another would have in test; set folds.calendar=common"
            )
        if self.labels.horizon_bars > self.model.context:
            raise StudyError(
                f"labels.horizon_bars is {self.labels.horizon_bars}, model.context "
                f"{self.model.context}; a path longer than the context cannot be sampled, so raise "
                "the context or shorten the horizon"
            )

    @property
    def prompt_tokens(self) -> int:
        """Return how many tokens a path begins with, at most: with more none would fit behind."""
        return self.model.context - self.labels.horizon_bars + 1

    def shape(self, *, vocabulary: int, n_assets: int, n_categories: int) -> GptShape:
        """Return the model's sizes; raise TrainingError or UsageError for impossible ones."""
        return GptShape(
            vocabulary=vocabulary,
            n_assets=n_assets,
            n_categories=n_categories,
            **self.model.options(),
        )
