"""Words to calls: the `walkforge` command. No logic lives here."""

from ._main import main

__all__ = ["main"]
