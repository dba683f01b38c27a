"""Options that several commands share."""

from typing import Annotated

import typer

SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Override a key, as in training.epochs=3."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print the answer as JSON.")]
