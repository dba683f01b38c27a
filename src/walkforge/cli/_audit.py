"""`audit`: the honesty laboratory."""

from typing import Annotated

import typer

from ._audit_faults import FaultOption, SeedsOption, audit_faults
from ._audit_limits import LimitsOption, draw_limits
from ._audit_own import CutsOption, FeaturesOption, LabelsOption, TimeframeOption, audit_parts
from ._audit_rates import (
    EdgeOption,
    KindOption,
    NullOption,
    OutOption,
    PlantedOption,
    Wish,
    measure_rates,
)
from ._options import BarsOption, JsonOption, SetOption, SymbolsOption

_StudyArgument = Annotated[
    str | None, typer.Argument(metavar="[STUDY]", help="A preset or a YAML file.")
]
_SeedOption = Annotated[int, typer.Option(min=0, help="Of the random cuts, or of the markets.")]


def add_to(app: typer.Typer) -> None:
    """Add the command of this file."""
    app.command(
        epilog="Examples: walkforge audit gru --bars bars/binance --seeds 20   |   "
        "walkforge audit --features my_features.py:make --bars bars/binance   |   "
        "walkforge audit --null 300 --out audits/null   |   "
        "walkforge audit --planted 100 --edge 3 --edge 5 --out audits/planted   |   "
        "walkforge audit --limits audits/null --limits audits/planted"
    )(audit)


def audit(
    study_source: _StudyArgument = None,
    bars: BarsOption = None,
    symbols: SymbolsOption = None,
    fault: FaultOption = None,
    seeds: SeedsOption = 1,
    features: FeaturesOption = None,
    labels: LabelsOption = None,
    timeframe: TimeframeOption = None,
    cuts: CutsOption = 20,
    seed: _SeedOption = 0,
    null: NullOption = None,
    planted: PlantedOption = None,
    edge: EdgeOption = None,
    kind: KindOption = None,
    limits: LimitsOption = None,
    out: OutOption = None,
    overrides: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Find out what would fool you: in a study's pipeline, or in one's own features and labels.

    With a STUDY, plants faults in its own pipeline, made small, and says which guard catches each.
    Exits 1 when a fault was missed, or when a guard reported the pipeline as it stands.

    With --features or --labels, cuts the future off and says what changes, and how many bars of
    past the values need to settle. Exits 1 when something looks ahead.

    With --null or --planted, takes a study's whole pipeline over many made markets, each with a
    verdict of its own, and tells how many models are let out. Exits 1 when more than 1 in 100 null
    markets surely are: when the whole 95 % interval lies above. The same command goes on where one
    was cut off, and takes more markets. With --limits, draws what each limit of the gates lets out
    over such measurements, and what another limit would.
    """
    from walkforge.base import UsageError

    own = features is not None or labels is not None
    if limits and (own or study_source or null is not None or planted is not None):
        raise UsageError("--limits draws what was measured before; ask for it by itself")
    if null is not None or planted is not None:
        measure_rates(
            Wish(
                study_source=study_source,
                null=null,
                planted=planted,
                edges=edge or [],
                kind=kind,
                seed=seed,
                out=out,
                bars=bars,
                overrides=overrides or [],
                as_json=as_json,
            )
        )
    elif limits:
        draw_limits(limits, out)
    elif own and study_source is None:
        audit_parts(
            features,
            labels,
            bars=bars,
            timeframe=timeframe,
            n_cuts=cuts,
            seed=seed,
            as_json=as_json,
        )
    elif study_source is not None and not own:
        audit_faults(
            study_source,
            bars=bars,
            symbols=symbols,
            faults=fault,
            n_seeds=seeds,
            overrides=overrides or [],
            as_json=as_json,
        )
    else:
        raise UsageError("name a STUDY, or --features or --labels PATH.py:NAME with --bars FOLDER")
