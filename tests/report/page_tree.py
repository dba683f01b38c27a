"""A page as a tree, so that tests ask for what a reader sees and not for how it is written."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path

from plotly.offline import get_plotlyjs

_VOID = {"meta", "link", "br"}


@dataclass
class Node:
    """An element: its tag, attributes, and what stands in it."""

    tag: str
    attributes: dict[str, str] = field(default_factory=dict)
    children: list[Node | str] = field(default_factory=list)

    @property
    def text(self) -> str:
        """Return the text in it, spaces made plain."""
        parts = (child if isinstance(child, str) else child.text for child in self.children)
        return " ".join("".join(parts).split())

    def all(self, tag: str, class_: str | None = None) -> Iterator[Node]:
        """Yield every element below with this tag, and class if one is named, in order."""
        for child in self.children:
            if isinstance(child, Node):
                classes = child.attributes.get("class", "").split()
                if child.tag == tag and (class_ is None or class_ in classes):
                    yield child
                yield from child.all(tag, class_)

    def by_id(self, name: str) -> Node:
        """Return the element with this id."""
        return next(node for node in self.everything() if node.attributes.get("id") == name)

    def everything(self) -> Iterator[Node]:
        """Yield every element below, in order."""
        for child in self.children:
            if isinstance(child, Node):
                yield child
                yield from child.everything()

    @property
    def numbers(self) -> list[float]:
        """Return the exact numbers behind the shown ones."""
        return [float(node.attributes["value"]) for node in self.all("data")]


def read_page(path: Path) -> Node:
    """Return the root of a page."""
    return tree_of(path.read_text(encoding="utf-8"))


def tree_of(html: str) -> Node:
    """Return the root of some markup; raise where an element is not closed as it was opened."""
    builder = _Builder()
    builder.feed(html.replace(get_plotlyjs(), ""))
    assert [node.tag for node in builder.open] == ["root"], "an element is not closed"
    return builder.open[0]


class _Builder(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.open = [Node("root")]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        node = Node(tag, {name: value or "" for name, value in attrs})
        self.open[-1].children.append(node)
        if tag not in _VOID:
            self.open.append(node)

    def handle_endtag(self, tag: str) -> None:
        assert self.open[-1].tag == tag, f"</{tag}> closes <{self.open[-1].tag}>"
        self.open.pop()

    def handle_data(self, data: str) -> None:
        self.open[-1].children.append(data)
