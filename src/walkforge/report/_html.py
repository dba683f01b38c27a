"""Markup that escapes by default: a name from a file cannot become a tag."""

from __future__ import annotations

import html
import json
from collections.abc import Iterable
from typing import Any


class Html(str):
    """Text that is markup already; every other text is escaped on its way into the page."""

    __slots__ = ()


Child = str | None | Iterable["Child"]

_VOID = frozenset({"br", "hr", "meta"})


def tag(name: str, /, *children: Child, **attributes: str | int | bool | None) -> Html:
    """Return `<name attributes>children</name>` with everything but Html escaped.

    A trailing underscore of an attribute's name is dropped and the others become hyphens
    (`class_`, `aria_label`). None and False leave an attribute out, True writes it bare.
    """
    head = f"<{name}{''.join(_attribute(key, value) for key, value in attributes.items())}>"
    return Html(head if name in _VOID else f"{head}{join(*children)}</{name}>")


def join(*children: Child) -> Html:
    """Return the children one after the other, escaped where they are no markup."""
    return Html("".join(_text(child) for child in children))


def json_inside_script(value: Any) -> Html:
    """Return plain data as JSON that no text in it can break out of a `<script>` with.

    Numbers that are not finite must be None already.
    """
    text = json.dumps(value, separators=(",", ":"), allow_nan=False, ensure_ascii=False)
    return Html(text.replace("<", "\\u003c").replace("\u2028", "\\u2028"))


def _text(child: Child) -> str:
    if child is None:
        return ""
    if isinstance(child, Html):
        return child
    if isinstance(child, str):
        return html.escape(child)
    return "".join(_text(item) for item in child)


def _attribute(key: str, value: str | int | bool | None) -> str:
    if value is None or value is False:
        return ""
    name = key.rstrip("_").replace("_", "-")
    return f" {name}" if value is True else f' {name}="{html.escape(str(value))}"'
