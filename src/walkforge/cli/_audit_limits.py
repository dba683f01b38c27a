"""`audit --limits`: what the limits of the gates cost, from measurements that were made before."""

from pathlib import Path
from typing import Annotated, Any

import typer

LimitsOption = Annotated[
    list[Path] | None,
    typer.Option(
        "--limits",
        metavar="FOLDER",
        help="Draw what each limit lets out, from the folder of a measurement; may be repeated.",
        rich_help_panel="Null and planted markets",
    ),
]


def draw_limits(folders: list[Path], out: Path | None) -> None:
    """Write the page of several measurements side by side."""
    from walkforge import report

    page = out or folders[0] / "limits.html"
    print(report.write_limits([_read(folder) for folder in folders], page))


def _read(folder: Path) -> dict[str, Any]:
    from walkforge import audit
    from walkforge.base import UsageError, read_json

    path = folder / audit.AUDIT_FILE
    if not path.is_file():
        raise UsageError(
            f"{path}: not found; name a folder of `walkforge audit --null` or --planted"
        )
    data: dict[str, Any] = read_json(path)
    if not data.get("results"):
        raise UsageError(
            f"{path}: this measurement is not finished; the command that began it goes on with it"
        )
    if any("limits" not in result for result in data["results"]):
        raise UsageError(f"{path}: an older version measured it, without limits; measure anew")
    return data
