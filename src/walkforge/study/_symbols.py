"""A user's own file of symbols."""

import json
from pathlib import Path
from typing import Any

from walkforge.base import StudyError


def read_symbols(path: Path) -> list[str]:
    """Return the symbols of a JSON or text file, each once, in its order.

    JSON: a list of names, or an object with such a list under `symbols`. Text: names separated by
    commas or white space; what follows a `#` is a comment. Raises StudyError, with the file,
    for anything else.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise StudyError(f"{path}: not readable as text ({error})") from None
    names = _of_json(path, text) if text.lstrip()[:1] in ("[", "{") else _of_lines(text)
    if not names:
        raise StudyError(
            f"{path}: no symbols; expected names such as BTCUSDT, one per line, or a JSON list"
        )
    return list(dict.fromkeys(names))


def _of_lines(text: str) -> list[str]:
    lines = (line.partition("#")[0].replace(",", " ") for line in text.splitlines())
    return [name for line in lines for name in line.split()]


def _of_json(path: Path, text: str) -> list[str]:
    try:
        found: Any = json.loads(text)
    except json.JSONDecodeError as error:
        raise StudyError(f"{path}: not valid JSON in line {error.lineno} ({error.msg})") from None
    names = found.get("symbols") if isinstance(found, dict) else found
    if not isinstance(names, list) or not all(isinstance(name, str) and name for name in names):
        raise StudyError(
            f'{path}: expected a JSON list of names, or an object with one under "symbols"'
        )
    return names
