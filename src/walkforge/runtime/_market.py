"""The MarketGPT of a bundle, as its run asked it: by sampled paths or by its direction head.

Shapes: N bars, n rows asked, K numbers of a forecast row
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from walkforge.base import BoolArray, BundleError, FloatArray, IntArray, whole_windows
from walkforge.calibration import Calibrator, ForecastClasses, calibrator_from_dict
from walkforge.features import BAND_BARS, path_forecasts, read_tokenizer
from walkforge.registry import Bundle

from ._forecast import ForecastReader
from ._model import Answer, Seen

if TYPE_CHECKING:
    from walkforge.models import MarketGpt, PathDraws, Prompts


class MarketModel:
    """One MarketGPT that is ready to predict any of its series; loading happens once."""

    def __init__(self, bundle: Bundle) -> None:
        described = bundle.description
        self.bundle = bundle
        self.by_paths: bool = described["model"]["decides"] == "paths"
        self.prompt_tokens: int = described["prompt_tokens"]
        self.tokenizer = read_tokenizer(bundle.folder)
        if self.tokenizer.digest != described["tokenizer"]["digest"]:
            raise BundleError(
                f"{bundle.folder}: its tokenizer is not the one that the model was trained with; "
                "take the bundle again from its run"
            )
        self.model = _network(bundle)

    @property
    def look_back_bars(self) -> int:
        """Return how many bars the newest prediction needs, its own bar included.

        With fewer than `prompt_tokens` tokens it would read a shorter past than it could.
        """
        rule, n_tokens = self.tokenizer.rule, self.prompt_tokens
        before_the_first = max(rule.volatility_bars + 1, rule.volume_bars)
        if not self.by_paths:
            return before_the_first + n_tokens
        volatility_bars = self.bundle.description["volatility_bars"]
        return max(before_the_first + max(n_tokens, BAND_BARS), volatility_bars + 1)

    @property
    def price_names(self) -> list[str]:
        """Return the columns of prices that its paths forecast, in order."""
        return self._reader(self._any_series()).names if self.by_paths else []

    def can_predict(self, seen: Seen) -> BoolArray:
        """Tell of which bars (N,) it has all that a prediction needs."""
        valid = seen.vectors(self.tokenizer.rule).valid
        if not self.by_paths:
            return valid
        reader = self._reader(self._any_series())
        return whole_windows(valid, BAND_BARS) & reader.has_volatility(seen.bars)

    def answer(self, seen: Seen, rows: IntArray) -> Answer:
        """Return what it says of rows (n,) of the bars of one of its series."""
        name = self._series_of(seen)
        own = self.bundle.description["series"][name]
        prompts = self._prompts(seen, rows, own)
        calibrator = calibrator_from_dict(own["calibrator"])
        if not self.by_paths:
            return self._of_head(prompts, calibrator)
        reader = self._reader(own)
        outputs = self._forecasts(seen, rows, prompts, name, reader)
        scores = reader.scores(outputs, seen.bars, rows)
        prices = reader.price_columns(outputs, seen.bars, rows)
        return Answer(scores, calibrator.apply(scores), prices)

    def _of_head(self, prompts: Prompts, calibrator: Calibrator) -> Answer:
        import torch

        from walkforge.models import last_states

        with torch.no_grad():
            scores = self.model.class_logits(last_states(self.model, prompts)).double().numpy()
        return Answer(scores, calibrator.apply(scores))

    def _forecasts(
        self, seen: Seen, rows: IntArray, prompts: Prompts, name: str, reader: ForecastReader
    ) -> FloatArray:
        """Return forecast rows (n, K)."""
        from walkforge.models import sample_paths

        found = np.empty((len(rows), reader.row.n_numbers))
        opened_ms, sigma = seen.bars.timestamp[rows], reader.sigma(seen.bars, rows)
        for places, tokens_BNS in sample_paths(self.model, prompts, opened_ms, self._draws(name)):
            found[places] = path_forecasts(
                tokens_BNS,
                self.tokenizer,
                close=seen.bars.close,
                rows_B=rows[places],
                sigma_B=sigma[places],
                levels=reader.row.levels,
            )
        return found

    def _draws(self, name: str) -> PathDraws:
        from walkforge.models import PathDraws

        described = self.bundle.description
        return PathDraws(
            seed=described["seed"],
            series=name,
            steps=described["horizon_bars"],
            **described["sampling"],
        )

    def _prompts(self, seen: Seen, rows: IntArray, own: dict[str, Any]) -> Prompts:
        from walkforge.models import Prompts

        vectors = seen.vectors(self.tokenizer.rule)
        tokens = np.zeros(len(vectors.valid), dtype=np.uint16)
        tokens[vectors.valid] = self.tokenizer.encode(vectors.values[vectors.valid])
        known = _unbroken(vectors.valid, seen.bars.segment)[rows]
        return Prompts(
            tokens=tokens,
            rows=rows,
            lengths=np.minimum(known, self.prompt_tokens),
            asset=own["asset"],
            category=own["category"],
        )

    def _reader(self, own: dict[str, Any]) -> ForecastReader:
        from walkforge.models import ForecastRow

        described = self.bundle.description
        classes = ForecastClasses.from_dict(own["forecast"])
        row = ForecastRow(described["horizon_bars"])
        return ForecastReader(row, classes, described["volatility_bars"])

    def _any_series(self) -> dict[str, Any]:
        """Return one of the series; of all of them prices go by the same names and units."""
        return next(one for one in self.bundle.description["series"].values() if one["judged"])

    def _series_of(self, seen: Seen) -> str:
        """Return the series that the bars are of; the bundle was seen to know it."""
        asked = (seen.bars.symbol, seen.bars.timeframe, True)
        every = self.bundle.description["series"].items()
        return next(
            name for name, one in every if (one["symbol"], one["timeframe"], one["judged"]) == asked
        )


def _network(bundle: Bundle) -> MarketGpt:
    import torch

    from walkforge.models import GptShape, MarketGpt

    with torch.device("meta"):  # no first numbers are drawn for what is replaced at once
        model = MarketGpt(GptShape(**bundle.description["model"]["shape"]))
    model.load_state_dict(bundle.weights, assign=True)
    return model.eval()


def _unbroken(valid: BoolArray, segment: IntArray) -> IntArray:
    """Return how many tokens without a break end at each bar (N,), 0 where it has none."""
    row = np.arange(len(valid))
    begins = valid.copy()
    begins[1:] &= ~valid[:-1] | (np.diff(segment) != 0)
    first = np.maximum.accumulate(np.where(begins, row, 0))
    return np.where(valid, row - first + 1, 0)
