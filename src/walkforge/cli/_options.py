"""Options that several commands share."""

import os
from pathlib import Path
from typing import Annotated

import typer

BarsOption = Annotated[
    Path | None, typer.Option(help="Folder of one venue, laid out SYMBOL/TIMEFRAME.parquet.")
]
SymbolsOption = Annotated[
    Path | None, typer.Option(help="File of symbols to take: JSON, or text with one per line.")
]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Override a key, as in training.epochs=3."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print the answer as JSON.")]
StoreOption = Annotated[
    Path, typer.Option(help="The bar store: a folder per venue, symbol and timeframe.")
]
default_store = Path(os.environ.get("WALKFORGE_BARS", "bars"))
DevicesOption = Annotated[
    int | None, typer.Option(min=1, help="Devices of each machine that train one MarketGPT.")
]
NodesOption = Annotated[
    int | None,
    typer.Option(min=1, help="Machines that train one MarketGPT; start the command on each."),
]
ShardedOption = Annotated[
    bool, typer.Option("--sharded", help="Each device holds a part of the model (FSDP2).")
]


def device_overrides(devices: int | None, nodes: int | None, sharded: bool) -> list[str]:
    """Return what the options on devices mean as overrides of a study."""
    counts = {"devices": devices, "nodes": nodes, "sharded": True if sharded else None}
    return [f"device.{name}={value}" for name, value in counts.items() if value is not None]
