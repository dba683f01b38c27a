"""`data universe`, shown and built from what a local archive lists."""

import json

import polars as pl
import pytest
import typer
from typer.testing import CliRunner

from drawn import random_bars
from servers.archive import ArchiveServer
from walkforge import sources
from walkforge.base import UsageError, parse_utc_ms
from walkforge.cli import _universe
from walkforge.market import BarStore, bars_to_frame, read_universe

MINE = """
assets:
  - venue: drawn
    category: coins
    currency: USD
    calendar: 24/7
    symbols: {AAA: {listed: 2020-06-01}, BBB: {delisted: 2021-01-01T12:00}, CCC}
  - {venue: drawn, category: other, currency: USD, calendar: 24/7, symbols: [DDD]}
"""


@pytest.fixture
def call():
    """Return a function that calls `universe WORDS` and gives its output; its errors are raised."""
    app = typer.Typer()
    app.callback()(lambda: None)
    _universe.add_to(app)

    def run(*words):
        result = CliRunner().invoke(app, ["universe", *map(str, words)])
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        assert result.exit_code == 0, result.output
        return result.stdout

    return run


@pytest.fixture
def mine(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(MINE)
    return path


def test_assets_are_shown_with_their_categories_and_dates(call, mine):
    lines = call(mine).splitlines()
    assert [line.split() for line in lines[:-1]] == [
        ["drawn/AAA", "coins", "2020-06-01", "to"],
        ["drawn/BBB", "coins", "?", "to", "2021-01-01", "12:00"],
        ["drawn/CCC", "coins", "dates", "not", "known"],
        ["drawn/DDD", "other", "dates", "not", "known"],
    ]
    assert lines[-1] == (
        "mine: 4 assets; 3 coins, 1 other; 1 delisted; 3 without a listing date, which count as "
        "always listed"
    )


def test_what_could_be_traded_at_a_date_is_shown(call, mine):
    lines = call(mine, "--as-of", "2020-05-31").splitlines()
    assert [line.split()[0] for line in lines[:-1]] == ["drawn/BBB", "drawn/CCC", "drawn/DDD"]
    assert lines[-1].startswith("mine: 3 assets of 4 as of 2020-05-31; 2 coins, 1 other;")


def test_what_a_folder_holds_is_told(call, mine, tmp_path):
    store = BarStore(tmp_path / "bars")
    store.write(random_bars(300, symbol="CCC", timeframe="1h"))
    lines = call(mine, "--bars", store.root, "--timeframe", "1h").splitlines()
    assert [line.split()[-1] for line in lines[:-1]] == ["missing", "missing", "held", "missing"]
    assert lines[-1].endswith("; 1 held")


def test_the_answer_is_data_where_asked_for(call, mine, tmp_path):
    (tmp_path / "bars").mkdir()
    found = json.loads(call(mine, "--as-of", "2020-12-31", "--bars", tmp_path / "bars", "--json"))
    assert (found["universe"], found["as_of"], len(found["assets"])) == ("mine", "2020-12-31", 4)
    assert found["assets"][1] == {
        "symbol": "BBB", "venue": "drawn", "category": "coins", "currency": "USD",
        "calendar": "24/7", "listed": None, "delisted": "2021-01-01 12:00",
        "renamed": None, "held": False,
    }  # fmt: skip
    assert "held" not in json.loads(call(mine, "--json"))["assets"][0]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "name a universe or a YAML file, or build one"),
        (["case_c", "--from", "binance-archive"], "name a universe or a YAML file, or build one"),
        (["--from", "binance-archive"], "--from SOURCE and --out FILE.yaml go together"),
        (["case_c", "--out", "x.yaml"], "--from SOURCE and --out FILE.yaml go together"),
        (["case_d"], "no universe and no file named 'case_d'"),
        (["case_c", "--as-of", "soon"], "'soon' is not a time"),
    ],
)
def test_words_that_make_no_sense_are_refused(call, words, message):
    with pytest.raises(UsageError, match=message):
        call(*words)


def test_unknown_listing_dates_rule_nothing_out(call):
    found = json.loads(call("case_c", "--as-of", "1999-01-01", "--json"))
    assert len(found["assets"]) == 11
    assert all(asset["listed"] is None for asset in found["assets"])


def _serve(archive, symbol, n_days, *, delisted=False, skip_days=0):
    bars = bars_to_frame(random_bars(n_days, symbol=symbol, timeframe="1d"))[skip_days:]
    archive.add_bars(symbol, "1d", bars.cast({"timestamp": pl.Datetime("ms")}), delisted=delisted)


@pytest.fixture
def archive():
    with ArchiveServer() as server:
        _serve(server, "AAAUSDT", 95)
        _serve(server, "LUNAUSDT", 45, delisted=True)
        _serve(server, "NEWUSDT", 95, skip_days=60)
        for symbol in ("AAAUPUSDT", "USDCUSDT", "AAABTC"):
            _serve(server, symbol, 5)
        yield server


def _urls(archive):
    return [word for key, url in archive.urls.items() for word in ("--url", f"{key}={url}")]


def test_a_universe_is_built_from_what_an_archive_lists(call, archive, tmp_path):
    out = tmp_path / "coins.yaml"
    told = call("--from", "binance-archive", "--quote", "USDT", "--out", out, *_urls(archive))
    universe = read_universe(out)
    assert [asset.symbol for asset in universe.assets] == ["AAAUSDT", "LUNAUSDT", "NEWUSDT"]
    assert {(a.venue, a.category, a.currency, a.calendar) for a in universe.assets} == {
        ("binance", "crypto", "USDT", "24/7")
    }
    days = [parse_utc_ms(text) for text in ("2024-01-01", "2024-01-01", "2024-03-01")]
    assert [asset.listed_ms for asset in universe.assets] == days
    assert told.splitlines()[-1].startswith("coins: 3 assets; 3 crypto;")
    with pytest.raises(UsageError, match=r"coins\.yaml: is there already; name another file"):
        call("--from", "binance-archive", "--out", out, *_urls(archive))


def test_what_ended_long_before_the_newest_is_delisted(call, archive, tmp_path, monkeypatch):
    """A source that tells where a symbol's bars end."""
    ends = {"AAAUSDT": "2024-04-05", "LUNAUSDT": "2024-02-15", "NEWUSDT": "2024-04-01"}
    real = sources.make_source

    def make(name, **told):
        source = real(name, **told)
        source.last_ms = lambda symbol, timeframe: parse_utc_ms(ends[symbol])
        return source

    monkeypatch.setattr(sources, "make_source", make)
    out = tmp_path / "coins.yaml"
    call("--from", "binance-archive", "--out", out, *_urls(archive))
    gone = {asset.symbol: asset.delisted_ms for asset in read_universe(out).assets}
    luna_ms = parse_utc_ms("2024-02-15")
    assert gone == {"AAAUSDT": None, "LUNAUSDT": luna_ms, "NEWUSDT": None}
    assert "1 delisted" in call(out)


def test_nothing_is_written_where_nothing_is_left(call, archive, tmp_path):
    out = tmp_path / "coins.yaml"
    with pytest.raises(UsageError, match="coins: nothing is left for a universe: 6 not in EUR"):
        call("--from", "binance-archive", "--quote", "EUR", "--out", out, *_urls(archive))
    assert list(tmp_path.iterdir()) == []
