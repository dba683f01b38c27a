"""The honesty laboratory: what looks ahead is found before anybody believes its results.

And how often the gates are fooled by nothing, and how often they miss what is there.
"""

from ._null_markets import NULL_MARKETS, Recipe, null_market
from ._own_parts import (
    ColumnAudit,
    FeatureAudit,
    LabelAudit,
    audit_features,
    audit_labels,
    bars_to_audit,
)
from ._planted_markets import Oracle, Planted, edge_worth, oracle_of
from ._rates import MarketVerdict, measure_markets, read_verdicts

__all__ = [
    "NULL_MARKETS",
    "ColumnAudit",
    "FeatureAudit",
    "LabelAudit",
    "MarketVerdict",
    "Oracle",
    "Planted",
    "Recipe",
    "audit_features",
    "audit_labels",
    "bars_to_audit",
    "edge_worth",
    "measure_markets",
    "null_market",
    "oracle_of",
    "read_verdicts",
]
