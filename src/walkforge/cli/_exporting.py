"""`export`."""

from pathlib import Path
from typing import Annotated

import typer

from ._options import JsonOption


def add_to(app: typer.Typer) -> None:
    """Add the commands of this file."""
    app.command(
        epilog="Example: walkforge export runs/v8/models/BTCUSDT_fold0_seed0 --onnx --out btc.onnx"
    )(export)


def export(
    bundle: Annotated[Path, typer.Argument(help="A bundle: RUN/models/NAME.")],
    onnx: Annotated[bool, typer.Option("--onnx", help="As one ONNX file.")] = False,
    out: Annotated[
        Path | None, typer.Option(help="The file to write.  [default: BUNDLE.onnx, beside it]")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Write a bundle as one file for other programs, scaler and calibrator included.

    The file takes raw features and gives logits and calibrated probabilities. It is compared with
    the bundle before it takes its name; prints the largest differences found, and last its path.
    """
    from walkforge import runtime
    from walkforge.base import UsageError, json_text

    if not onnx:
        raise UsageError("name the format to export to; choose one of --onnx")
    path = runtime.export_onnx(bundle, out)
    differences = runtime.compare_onnx(path, bundle)
    if as_json:
        print(json_text({"onnx": str(path), "differences": differences}, indent=2))
        return
    found = ", ".join(f"{name} {value:.1e}" for name, value in differences.items())
    print(f"largest differences from the bundle: {found}")
    print(path)
