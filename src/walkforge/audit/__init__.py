"""The honesty laboratory: planted faults and the guards that have to catch them, one's own parts,
and how often the gates are fooled by nothing and miss what is there.
"""

from ._audit_study import AuditReport, Caught, Found, audit_study
from ._faults import FAULTS
from ._guards import GUARDS, Guard
from ._measure import AUDIT_FILE, measure_null, measure_planted
from ._null_markets import NULL_MARKETS, Recipe, null_market
from ._own_parts import (
    ColumnAudit,
    FeatureAudit,
    LabelAudit,
    audit_features,
    audit_labels,
    bars_to_audit,
)
from ._plant import Fault
from ._planted_markets import Oracle, Planted, edge_worth, oracle_of
from ._rates import MarketVerdict, measure_markets, read_verdicts

__all__ = [
    "AUDIT_FILE",
    "FAULTS",
    "GUARDS",
    "NULL_MARKETS",
    "AuditReport",
    "Caught",
    "ColumnAudit",
    "Fault",
    "FeatureAudit",
    "Found",
    "Guard",
    "LabelAudit",
    "MarketVerdict",
    "Oracle",
    "Planted",
    "Recipe",
    "audit_features",
    "audit_labels",
    "audit_study",
    "bars_to_audit",
    "edge_worth",
    "measure_markets",
    "measure_null",
    "measure_planted",
    "null_market",
    "oracle_of",
    "read_verdicts",
]
