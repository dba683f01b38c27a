"""The `walkforge` command, called inside the test's own process."""

import contextlib
import io
import sys
from unittest import mock


def call(*words: str) -> tuple[int, str, str]:
    """Return exit status, standard output and standard error of `walkforge WORDS`."""
    from walkforge.cli import main

    out, err = io.StringIO(), io.StringIO()
    with (
        mock.patch.object(sys, "argv", ["walkforge", *words]),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        try:
            main()
        except SystemExit as stop:
            return int(stop.code or 0), out.getvalue(), err.getvalue()
    return 0, out.getvalue(), err.getvalue()
