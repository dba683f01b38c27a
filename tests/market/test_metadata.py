"""What a Parquet file of ours tells of itself is believed where it makes sense, else refused."""

import json

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drawn import random_bars
from walkforge.base import BarsError
from walkforge.market import (
    BarStore,
    bars_to_frame,
    funding_asked,
    import_bars,
    provenance_of_file,
    read_bars_file_frame,
    read_folder,
    series_info,
)

WAY_OUT = "bring its bars in again from where they came"
SOURCE = {"file": "a.csv", "sha256": "ab", "checksum_agreed": True, "imported_at": "2024-01-01"}


def single_file(store, told, n_bars=20):
    """Write a series in one file, as older versions did, with any metadata; return its path."""
    path = store.root / "drawn" / "RANDOM" / "1m.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    text = told if isinstance(told, str) else json.dumps(told)
    bars_to_frame(random_bars(n_bars)).write_parquet(path, metadata={"walkforge": text})
    return path


def refusal(act) -> str:
    with pytest.raises(BarsError) as error:
        act()
    message = str(error.value)
    assert "\n" not in message
    assert message.endswith(WAY_OUT)
    return message


ODD = [
    ("{", "is damaged, expected a table in JSON"),
    ("[" * 100_000, "is damaged, expected a table in JSON"),
    ([1], "is damaged, expected a table in JSON"),
    ({"provenance": "real"}, 'has provenance "real", expected one of exchange, sample, simulated'),
    ({"provenance": ["file"]}, 'has provenance ["file"], expected one of'),
    ({"calendar": "daily"}, 'has calendar "daily", expected one of 24/7, session'),
    ({"calendar_named": {}}, "has calendar_named {}, expected one of 24/7, session, or null"),
    ({"history": "mended"}, 'has history "mended", expected a list of lines'),
    ({"history": [1]}, "has history [1], expected a list of lines"),
    ({"sources": {"file": "a.csv"}}, 'has sources {"file": "a.csv"}, expected a list of tables'),
    ({"sources": ["a.csv"]}, 'has sources ["a.csv"], expected a list of tables'),
]


@pytest.mark.parametrize(("told", "words"), ODD)
def test_metadata_that_nobody_of_us_wrote_is_refused_by_every_reader(store, told, words):
    path = single_file(store, told)
    for act in (
        lambda: read_folder(store.root / "drawn", timeframe="1m"),
        lambda: store.list(),
        lambda: store.write(random_bars(30)),
        lambda: import_bars(path, store, venue="other"),
        lambda: provenance_of_file(path),
        lambda: read_bars_file_frame(path, timeframe="1m"),
    ):
        assert f"{path}: its metadata entry 'walkforge' {words}" in refusal(act)
    assert not list(store.root.rglob("manifest.json"))


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ({}, "has file null in source 2, expected text"),
        ({"file": "b.csv"}, "has sha256 null in source 2, expected text"),
        ({"file": 7, "sha256": "ab"}, "has file 7 in source 2, expected text"),
        ({**SOURCE, "source": ["file"]}, 'has source ["file"] in source 2, expected text'),
        ({**SOURCE, "imported_at": 1.5}, "has imported_at 1.5 in source 2, expected text"),
    ],
)
def test_a_source_that_lacks_what_a_manifest_needs_is_refused_where_one_is_made(
    store, source, words
):
    path = single_file(store, {"provenance": "simulated", "sources": [SOURCE, source]})
    before = path.read_bytes()
    assert len(read_folder(store.root / "drawn", timeframe="1m")["RANDOM"]) == 20
    for act in (lambda: store.write(random_bars(30)), lambda: series_info(store.list()[0])):
        assert f"{path}: its metadata entry 'walkforge' {words}" in refusal(act)
    assert path.read_bytes() == before
    assert not path.with_suffix("").exists()


def test_sources_with_more_than_we_wrote_become_entries_of_what_we_know(store):
    odd = {**SOURCE, "version": ["x"], "pieces": "many", "from": None}
    single_file(store, {"provenance": "simulated", "sources": [odd, odd, {**SOURCE, "file": "b"}]})
    entry = {
        "source": "file",
        "file": "a.csv",
        "sha256": "ab",
        "checksum_agreed": True,
        "fetched_at": "2024-01-01",
    }
    assert series_info(store.list()[0]).sources == (entry, entry, {**entry, "file": "b"})
    store.write(random_bars(30).take(slice(20, 30)))
    manifest = store.manifest("drawn", "RANDOM", "1m")
    assert manifest.sources == (entry, {**entry, "file": "b"})


@pytest.mark.parametrize("asked", [[1], {"ccxt": 5}, {"ccxt": [[1]]}, {"ccxt": [["a", "b"]]}])
def test_funding_that_tells_nonsense_of_what_was_asked_is_refused(tmp_path, asked):
    rates = pl.DataFrame({"timestamp": [0], "rate": [1e-4]}).cast(
        {"timestamp": pl.Datetime("ms", "UTC")}
    )
    path = tmp_path / "funding.parquet"
    rates.write_parquet(path, metadata={"walkforge": json.dumps({"asked": asked})})
    message = refusal(lambda: funding_asked(tmp_path, "ccxt"))
    assert f"has asked {json.dumps(asked)}, expected lists of [start, end] by source" in message


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text("ab.", max_size=3) | st.just(0.5),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(st.sampled_from([*SOURCE, "source", "version"]), inner, max_size=3)
    ),
    max_leaves=6,
)
KEYS = ["provenance", "calendar", "calendar_named", "history", "sources", "asked", "columns"]


@given(told=st.dictionaries(st.sampled_from(KEYS), JSON, max_size=3))
@settings(max_examples=60, deadline=None)
def test_whatever_metadata_says_ends_in_bars_or_in_one_line(tmp_path_factory, told):
    store = BarStore(tmp_path_factory.mktemp("store"))
    path = single_file(store, {"provenance": "simulated"} | told)
    for act in (
        lambda: read_folder(store.root / "drawn", timeframe="1m"),
        lambda: series_info(store.list()[0]),
        lambda: import_bars(path, store, venue="other"),
        lambda: store.write(random_bars(30).take(slice(20, 30))),
    ):
        try:
            act()
        except BarsError as error:
            assert "\n" not in str(error)  # noqa: PT017
