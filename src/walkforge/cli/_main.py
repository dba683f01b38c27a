"""Where the command begins, and where every error becomes one line and an exit status."""

import io
import sys

import typer

from walkforge.base import WalkforgeError

from . import (
    _audit,
    _comparing,
    _data,
    _doctoring,
    _ensembling,
    _exporting,
    _judging,
    _prediction,
    _running,
    _trials,
    _tuning,
)

_INTERRUPTED = 130

app = typer.Typer(
    name="walkforge",
    help="Train market models for every symbol at once, and let none out that fools its maker.",
    epilog="Begin with: walkforge run demo",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback(invoke_without_command=True)
def _everywhere(
    version: bool = typer.Option(False, "--version", help="Print the version and stop."),
    debug: bool = typer.Option(False, "--debug", help="Show the traceback of an error."),
) -> None:
    if version:
        from walkforge import __version__

        print(__version__)
        raise typer.Exit


_running.add_to(app)
_tuning.add_to(app)
_judging.add_to(app)
_comparing.add_to(app)
_ensembling.add_to(app)
_prediction.add_to(app)
_exporting.add_to(app)
_trials.add_to(app)
_doctoring.add_to(app)
_audit.add_to(app)
app.add_typer(_data.app, name="data")


def main() -> None:
    """Run the command line; exit with 0 done, 1 failed, 2 wrong usage, 130 interrupted."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a pipe that knows no `█` gets a `?`
    arguments = [word for word in sys.argv[1:] if word != "--debug"]
    debug = len(arguments) < len(sys.argv) - 1
    try:
        app(args=arguments)
    except WalkforgeError as error:
        if debug:
            raise
        print(f"walkforge: error: {error}", file=sys.stderr)
        sys.exit(error.exit_status)
    except SystemExit as stop:
        if stop.code == _INTERRUPTED:  # Ctrl-C, which the library turns into a silent exit
            print("walkforge: interrupted", file=sys.stderr)
        raise
    except BrokenPipeError:
        # The reader of our output has gone, as in `walkforge ... | head`.
        sys.stderr.close()
        sys.exit(1)
    except OSError as error:
        if debug:
            raise
        print(f"walkforge: error: {error.filename}: {error.strerror}", file=sys.stderr)
        sys.exit(1)
    except Exception as error:
        if debug:
            raise
        print(f"walkforge: error: {type(error).__name__}: {error}", file=sys.stderr)
        print("This is a fault of Walkforge; --debug shows where it happened.", file=sys.stderr)
        sys.exit(1)
