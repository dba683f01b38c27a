"""The honesty laboratory: how often the gates are fooled, and how often they miss what is there."""

from ._null_markets import NULL_MARKETS, Recipe, null_market
from ._planted_markets import Oracle, Planted, edge_worth, oracle_of
from ._rates import MarketVerdict, measure_markets, read_verdicts

__all__ = [
    "NULL_MARKETS",
    "MarketVerdict",
    "Oracle",
    "Planted",
    "Recipe",
    "edge_worth",
    "measure_markets",
    "null_market",
    "oracle_of",
    "read_verdicts",
]
