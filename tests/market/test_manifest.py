"""What is nonsense in a manifest is one line that names it, whoever reads it."""

import copy
import json
import shutil
import tempfile
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drawn import random_bars
from walkforge.base import BarsError, WalkforgeError
from walkforge.market import (
    Addition,
    BarStore,
    Span,
    bars_to_frame,
    check_path,
    rows_of_frame,
    series_info,
)

NAME = ("drawn", "RANDOM", "1d")
BARS = random_bars(500, timeframe="1d")
ENTRIES = (
    {"source": "archive", "file": "a.zip", "version": "1", "days": {"a-01.zip": "2"}},
    {
        "source": "told",
        "file": "a",
        "from": "2024-01-01 00:00",
        "to": "2024-01-02 00:00",
        "rows": 3,
    },
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
LIKELY = st.sampled_from(
    [10**30, -(10**30), "x", "../../x", "\0", [1], [{}], {"a": 1}, {"a": [[1, 2]]}, ["volume"]]
)


def addition(bars, entries=ENTRIES):
    return Addition(
        rows=rows_of_frame(bars_to_frame(bars)),
        provenance="simulated",
        sources=entries,
        asked=(Span(0, 10**13),),
        asked_of="told",
    )


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """Return a store of a series in two parts, and its manifest as JSON has it."""
    store = BarStore(tmp_path_factory.mktemp("store"))
    store.add(*NAME, addition(BARS.take(slice(0, 400))))
    return store, json.loads((store.path(*NAME) / "manifest.json").read_text(encoding="utf-8"))


@contextmanager
def store_with(store, plain):
    """Yield a copy of a store with another manifest."""
    with tempfile.TemporaryDirectory() as folder:
        other = BarStore(Path(folder) / "store")
        shutil.copytree(store.root, other.root)
        (other.path(*NAME) / "manifest.json").write_text(json.dumps(plain), encoding="utf-8")
        yield other


def places(value, at=()):
    """Yield where the values in a manifest stand, those in tables and lists as well."""
    if at:
        yield at
    inner = dict(enumerate(value)) if isinstance(value, list) else value
    if not isinstance(inner, dict):
        return
    for key, one in inner.items():
        yield from places(one, (*at, key))


def with_value(plain, at, value):
    plain = copy.deepcopy(plain)
    place = plain
    for key in at[:-1]:
        place = place[key]
    place[at[-1]] = value
    return plain


def refusals(store):
    """Return what everything that reads a series says of this one; nothing but a line may come."""
    doings = (
        store.list,
        lambda: [series_info(one) for one in store.list()],
        lambda: check_path(store.root),
        lambda: store.read(*NAME),
        lambda: store.holes(*NAME),
        lambda: store.scan(*NAME).collect(),
        lambda: store.covered(*NAME, Span(0, 10**13), "archive"),
        lambda: store.manifest(*NAME).files_of("archive"),
        lambda: store.write(BARS),
    )
    said = []
    for do in doings:
        try:
            do()
        except WalkforgeError as error:
            said.append(str(error))
    assert not [words for words in said if "\n" in words]
    return said


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_any_value_anywhere_in_a_manifest_gives_a_line_and_no_traceback(written, data):
    store, plain = written
    at = data.draw(st.sampled_from(list(places(plain))))
    with store_with(store, with_value(plain, at, data.draw(LIKELY | JSON))) as other:
        refusals(other)


@pytest.mark.parametrize(
    ("at", "value", "words"),
    [
        (("provenance",), [{}], r'provenance is \[\{\}\], expected one of exchange'),
        (("timeframe",), "7m", 'timeframe is "7m", expected a timeframe'),
        (("columns",), ["volume"], r'columns is \["volume"\], expected open, high, low'),
        (("columns",), ["open", "high", "low", "close", "volume", "*"], "of plain names"),
        (("asked",), {"told": [[1, "a"]]}, r"expected lists of \[start, end\]"),
        (("parts",), "x", 'parts is "x", expected a list of parts'),
        (("parts", 0, "rows"), "x", 'rows of part 1 is "x", expected a whole number'),
        (("parts", 1, "sha256"), None, "sha256 of part 2 is null, expected text"),
        (("parts", 0, "file"), "../../x", r'file of part 1 is "\.\./\.\./x", expected a part'),
        (("parts", 0, "last_ms"), 10**30, "last_ms of part 1 is 1000.*, expected milliseconds"),
        (("parts", 0, "last_ms"), 0, "part 1 is none"),
        (("parts", 0, "further"), 0, "part 1 is none"),
        (("sources", 0, "days"), 5, "days of source 1 is 5, expected versions by day"),
        (("sources", 1), {"source": "told"}, "from of source 2 is null, expected text"),
    ],
)  # fmt: skip
def test_what_is_wrong_in_a_manifest_is_named(written, at, value, words):
    store, plain = written
    line = rf"manifest.json: damaged, .*{words}.*Move the folder away"
    with store_with(store, with_value(plain, at, value)) as other:
        with pytest.raises(BarsError, match=line):
            other.read(*NAME)
        assert len(refusals(other)) >= 6


def test_what_is_written_is_read(written):
    store, plain = written
    manifest = store.manifest(*NAME)
    assert {"format": 1, **json.loads(json.dumps(asdict(manifest)))} == plain
    assert manifest.rows == len(store.read(*NAME)) == 400
