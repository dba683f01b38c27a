"""`compare`."""

from pathlib import Path
from typing import Annotated

import typer

from ._options import JsonOption

DEFAULT_PAGE = Path("comparison.html")


def add_to(app: typer.Typer) -> None:
    """Add the command of this file."""
    app.command(epilog="Example: walkforge compare runs/base runs/wide --out wide.html")(compare)


def compare(
    folders: Annotated[
        list[Path], typer.Argument(metavar="RUN", help="Two run folders or more; A first.")
    ],
    out: Annotated[
        Path | None, typer.Option(help="The page to write.  [default: comparison.html]")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Set runs side by side: settings, measures, tests on common rows, time and memory.

    Every run is tested against the first one. Prints tables, writes a page with the same and
    pictures, and prints its path last; --json writes a page only where --out asks for one.
    """
    from walkforge import report, study
    from walkforge.base import UsageError, json_text

    from ._comparison_words import print_comparison

    if out is not None and out.suffix.lower() not in (".html", ".htm"):
        raise UsageError(f"--out {out}: the page is HTML; expected a name that ends in .html")
    data = study.compare(folders)
    page = out if as_json else out or DEFAULT_PAGE
    # Before anything is printed: a reader that stops early, as `head` does, still gets the page.
    if page is not None:
        report.write_comparison(data, page)
    if as_json:
        print(json_text(data, indent=2))
    else:
        print_comparison(data)
        print(page)
