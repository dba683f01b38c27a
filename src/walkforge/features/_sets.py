"""The named sets of features, and the table of them that the documentation shows."""

from dataclasses import dataclass

from walkforge.base import one_of

from . import _indicator_columns as indicator
from . import _price_columns as price
from . import _volume_columns as volume
from ._column import Column


@dataclass(frozen=True, slots=True)
class FeatureSet:
    """A named list of columns, in the order in which they stand in a table."""

    name: str
    columns: tuple[Column, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """Return the columns' names, in order."""
        return tuple(column.name for column in self.columns)

    @property
    def look_back_bars(self) -> int:
        """Return how many bars a row needs, its own bar included: the longest of its columns."""
        return max(column.look_back_bars for column in self.columns)


def feature_set(name: str) -> FeatureSet:
    """Return the set of this name; raise UsageError naming the sets for an unknown one."""
    return FeatureSet(name, SETS[one_of("feature set", name, SETS)])


def describe(name: str) -> str:
    """Return the columns of a set as a Markdown table: name, formula, unit, look-back in bars."""
    rows = [
        f"| `{column.name}` | {_cell(column.formula)} | {column.unit} | {column.look_back_bars} |"
        for column in feature_set(name).columns
    ]
    return "\n".join(["| column | formula | unit | look-back |", "|---|---|---|---|", *rows])


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


_V8 = (
    *map(price.past_return, (1, 5, 10, 15, 30, 60, 120, 240)),
    *map(price.lagged_return, (1, 2, 3, 5, 10)),
    *map(price.close_to_sma, (5, 10, 20, 50, 100, 200)),
    *map(indicator.close_to_ema, (12, 26)),
    price.sma_cross(5, 20),
    price.sma_cross(20, 100),
    *map(price.momentum, (10, 30, 90)),
    *map(price.acceleration, (5, 20)),
    price.up_share(20),
    *map(price.volatility, (10, 30, 120)),
    *map(price.parkinson, (10, 30, 120)),
    *map(price.garman_klass, (10, 30, 120)),
    price.volatility_shift(5, 60),
    price.volatility_shift(60, 240),
    indicator.natr(14),
    indicator.true_range_shift(14),
    *map(indicator.rsi, (7, 14)),
    indicator.macd(12, 26),
    indicator.macd_histogram(12, 26, 9),
    indicator.bollinger(20),
    indicator.bollinger_width(20),
    *map(indicator.stochastic_k, (14, 60, 240)),
    indicator.stochastic_d(14, 3),
    indicator.cci(20),
    indicator.mfi(14),
    indicator.dmi(14),
    indicator.adx(14),
    *map(volume.close_to_vwap, (20, 60, 240)),
    volume.volume_ratio(20),
    volume.volume_shift(5, 60),
    volume.volume_shift(20, 240),
    *map(volume.flow, (20, 60)),
    price.body(),
    price.upper_wick(),
    price.lower_wick(),
    price.gap(),
    volume.day_sin(),
    volume.day_cos(),
    volume.week_sin(),
    volume.week_cos(),
)

_GRU = (
    price.gap(),
    price.high(),
    price.low(),
    price.past_return(1),
    volume.volume_ratio(20),
    indicator.rsi(14),
    *map(indicator.close_to_ema, (12, 26)),
    indicator.natr(14),
    indicator.bollinger(20),
    indicator.bollinger_width(20),
    indicator.macd(12, 26),
    indicator.macd_histogram(12, 26, 9),
    volume.close_to_vwap(60),
    *map(price.past_return, (5, 15)),
    volume.volume_shift(5, 60),
)

# Open, high and low of a bar against the close before it, and its close likewise.
_OHLC = (price.gap(), price.high(), price.low(), price.past_return(1))

_ALIGNED = (
    *_OHLC,
    indicator.rsi(14),
    indicator.macd(12, 26),
    indicator.macd_histogram(12, 26, 9),
    indicator.bollinger(20),
    indicator.bollinger_width(20),
    indicator.natr(14),
    indicator.close_to_ema(12),
    volume.volume_ratio(20),
)

_V7 = (*_ALIGNED, indicator.close_to_ema(26), indicator.stochastic_k(14))

# A market of which only the closes are known.
_RETURNS = (price.past_return(1),)

SETS = {"v8": _V8, "gru": _GRU, "v7": _V7, "aligned": _ALIGNED, "returns": _RETURNS}
