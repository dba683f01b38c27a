"""Universes: what the shipped ones hold, how a user's own is read, which assets bars hold."""

import tomllib
from collections import Counter
from dataclasses import replace
from fnmatch import fnmatch
from importlib.resources import files
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drawn import random_bars
from walkforge.base import BarsError, UsageError, parse_utc_ms
from walkforge.market import (
    CALENDARS,
    Asset,
    Universe,
    present_and_missing,
    read_bars,
    read_universe,
    universe_from_listings,
    universe_names,
    write_universe,
)

CATEGORIES = {
    "case_a": {"us": 300, "europe": 150, "emerging": 50, "commodities": 30, "crypto": 70},
    "case_b": {"us": 50, "crypto": 20, "commodities": 15, "emerging": 15},
    "case_c": {"crypto": 20},
}
WITH_DELISTED = "coins_with_delisted"
COINS = """
assets:
  - venue: drawn
    category: crypto
    currency: USDT
    calendar: 24/7
    symbols: [AAAUSDT, BBBUSDT]
"""
STOCKS = """
  - {venue: nyse, category: us, currency: USD, calendar: session, symbols: [ON, NO, 1e3, CCCUSDT]}
"""


@pytest.fixture
def write(tmp_path):
    """Return a function that writes a universe file of the text given."""

    def write_text(text: str | bytes) -> Path:
        path = tmp_path / "mine.yaml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write_text


DATED = """
assets:
  - venue: drawn
    category: crypto
    currency: USDT
    calendar: 24/7
    symbols:
      AAAUSDT: {listed: 2019-09-11, delisted: 2022-05-13T01:00}
      BBBUSDT: {delisted: 2021-01-01}
      CCCUSDT: {listed: 2020-06-01T12:30:05+02:00}
      ON:
"""


def coin(symbol: str, venue: str = "drawn", **dates: int) -> Asset:
    return Asset(symbol, venue, "crypto", "USDT", "24/7", **dates)


def test_the_shipped_universes_are_the_three_cases_and_one_with_what_was_delisted():
    assert universe_names() == [*sorted(CATEGORIES), WITH_DELISTED]


@pytest.mark.parametrize("name", CATEGORIES)
def test_a_shipped_universe_holds_exactly_its_numbers_of_each_category(name):
    universe = read_universe(name)
    assert universe.name == name
    assert Counter(asset.category for asset in universe.assets) == CATEGORIES[name]
    assert universe.categories == tuple(sorted(CATEGORIES[name]))


@pytest.mark.parametrize("name", CATEGORIES)
def test_every_shipped_asset_is_complete_and_named_once(name):
    assets = read_universe(name).assets
    assert len({asset.symbol for asset in assets}) == len(assets)
    for asset in assets:
        crypto = asset.category == "crypto"
        assert asset.calendar == ("24/7" if crypto else "session")
        assert asset.calendar in CALENDARS
        assert (asset.venue == "binance") == crypto == asset.symbol.endswith("USDT")
        assert asset.currency in {"USD", "USDT", "EUR", "GBP", "CHF", "SEK", "DKK", "NOK"}
        assert (asset.category == "europe") == (asset.currency not in {"USD", "USDT"})


def test_the_endings_of_european_symbols_agree_with_venue_and_currency():
    expected = {
        "PA": ("euronext", "EUR"), "AS": ("euronext", "EUR"), "BR": ("euronext", "EUR"),
        "LS": ("euronext", "EUR"), "DE": ("xetra", "EUR"), "L": ("lse", "GBP"),
        "SW": ("six", "CHF"), "MC": ("madrid", "EUR"), "MI": ("milan", "EUR"),
        "ST": ("stockholm", "SEK"), "CO": ("copenhagen", "DKK"), "HE": ("helsinki", "EUR"),
        "OL": ("oslo", "NOK"),
    }  # fmt: skip
    european = [asset for asset in read_universe("case_a").assets if asset.category == "europe"]
    for asset in european:
        ending = asset.symbol.rpartition(".")[2]
        assert (asset.venue, asset.currency) == expected[ending], asset


def test_the_smaller_cases_are_parts_of_the_larger_ones():
    a, b, c = (set(read_universe(name).assets) for name in sorted(CATEGORIES))
    assert c < b < a


def test_the_shipped_files_are_package_data():
    found = files("walkforge.market") / "universes"
    assert sorted(item.name for item in found.iterdir()) == [f"{n}.yaml" for n in universe_names()]
    pyproject = Path(__file__).resolve().parents[2] / "pyproject.toml"
    patterns = tomllib.loads(pyproject.read_text())["tool"]["setuptools"]["package-data"]
    for item in found.iterdir():
        path = f"market/universes/{item.name}"
        assert any(fnmatch(path, pattern) for pattern in patterns["walkforge"]), path


@pytest.mark.parametrize("name", [*CATEGORIES, WITH_DELISTED])
def test_a_shipped_file_says_that_it_was_chosen_with_hindsight(name):
    text = (files("walkforge.market") / "universes" / f"{name}.yaml").read_text()
    assert "Survivorship" in text


def test_a_users_file_is_read_in_its_order_and_its_words_stay_words(write):
    universe = read_universe(write(COINS + STOCKS))
    assert universe.name == "mine"
    assert [asset.symbol for asset in universe.assets] == [
        "AAAUSDT", "BBBUSDT", "ON", "NO", "1e3", "CCCUSDT",
    ]  # fmt: skip
    assert universe.assets[0] == coin("AAAUSDT")
    assert universe.assets[2] == Asset("ON", "nyse", "us", "USD", "session")
    assert universe.categories == ("crypto", "us")


def test_a_path_given_as_text_is_read_too(write):
    path = write(COINS)
    assert read_universe(str(path)) == read_universe(path)


def test_an_unknown_name_is_refused_with_the_nearest_and_all_known_ones():
    with pytest.raises(UsageError, match=r"named 'case_d' \(did you mean .*; universes: case_a, c"):
        read_universe("case_d")


def test_a_file_that_is_not_there_or_no_text_is_refused(write, tmp_path):
    with pytest.raises(UsageError, match=r"none\.yaml: No such file"):
        read_universe(tmp_path / "none.yaml")
    with pytest.raises(UsageError, match="Is a directory"):
        read_universe(tmp_path)
    with pytest.raises(UsageError, match=r"mine\.yaml: not readable as text"):
        read_universe(write(b"assets: \xff\xfe"))


REFUSED = {
    "bad YAML": (COINS + "   ]", r"not valid YAML in line 8: "),
    "a character that is no text": (COINS + "\0", "not valid YAML"),
    "nothing": ("", "expected the one key `assets`, found None"),
    "a list": ("- a\n", r"expected the one key `assets`, found \['a'\]"),
    "other keys": (COINS + "name: x\n", r"the one key `assets`, found \['assets', 'name'\]"),
    "no list": ("assets: all\n", "assets: expected a list of entries, found 'all'"),
    "no entries": ("assets: []\n", "no assets, expected one or more"),
    "an entry without keys": (COINS + "  - BTCUSDT\n", "entry 2: expected the keys venue, .*'BTCU"),
    "an unknown key": (
        COINS.replace("venue", "venues"),
        r"entry 1: unknown key 'venues' \(did you mean 'venue'\?\); an entry has venue, category, ",
    ),
    "a missing key": (COINS.replace("    currency: USDT\n", ""), "entry 1: no currency; an entry"),
    "an empty value": (COINS.replace("currency: USDT", "currency:"), "entry 1: no currency; an"),
    "several missing": (
        "assets: [{venue: a}]",
        "entry 1: no category, currency, calendar, symbols",
    ),
    "no symbols": (COINS.replace("[AAAUSDT, BBBUSDT]", "[]"), "entry 1: no symbols; an entry"),
    "symbols in one word": (
        COINS.replace("[AAAUSDT, BBBUSDT]", "AAAUSDT"),
        r"entry 1: symbols: expected a list such as \[BTCUSDT, ETHUSDT\], or a .*, found 'AAAUSDT'",
    ),
    "a symbol with keys": (
        COINS.replace("AAAUSDT", "{a: b}"),
        "entry 1: symbol: expected a word, found {'a': 'b'}",
    ),
    "an empty symbol": (COINS.replace("AAAUSDT", '""'), "entry 1: symbol: expected a word"),
    "a list for a word": (
        COINS.replace("category: crypto", "category: [a]"),
        r"entry 1: category: expected a word, found \['a'\]",
    ),
    "an unknown calendar": (
        COINS.replace("24/7", "nyse"),
        "entry 1: unknown calendar 'nyse'; choose one of 24/7, session",
    ),
    "a symbol that leads elsewhere": (
        COINS.replace("AAAUSDT", "../AAAUSDT"),
        "entry 1: symbol '../AAAUSDT' cannot name a folder",
    ),
    "a venue that leads elsewhere": (
        COINS.replace("drawn", "a/b"),
        "entry 1: venue 'a/b' cannot name a folder",
    ),
    "a date alone": (
        DATED.replace("{delisted: 2021-01-01}", "2021-01-01"),
        "entry 1: BBBUSDT: expected {listed: 2019-09-11, delisted: 2022-05-13}, .* '2021-01-01'",
    ),
    "an unknown date": (
        DATED.replace("{delisted: 2021-01-01}", "{deleted: 2021-01-01}"),
        r"entry 1: BBBUSDT: unknown key 'deleted' \(did you mean 'delisted'\?\)",
    ),
    "a date that is none": (
        DATED.replace("2021-01-01", "2021-13-01"),
        "entry 1: BBBUSDT: delisted: expected a date such as 2024-01-31, found '2021-13-01'",
    ),
    "a date with keys": (
        DATED.replace("2021-01-01", "{a: b}"),
        "entry 1: BBBUSDT: delisted: expected a date such as 2024-01-31, found {'a': 'b'}",
    ),
    "an end before the beginning": (
        DATED.replace("2022-05-13T01:00", "2019-09-11"),
        "entry 1: AAAUSDT: delisted 2019-09-11 00:00, expected a time after it was listed, 2019-0",
    ),
    "two lives of one ticker": (
        DATED + DATED.replace("assets:\n", "").replace("BBBUSDT", "DDDUSDT"),
        "symbol 'AAAUSDT' stands twice, .* of a reused ticker the one life that is meant",
    ),
    "delisted and renamed": (
        DATED.replace("{delisted: 2021-01-01}", "{delisted: 2021-01-01, renamed: 2021-01-01}"),
        "entry 1: BBBUSDT: delisted and renamed, expected one of them",
    ),
    "renamed before it was listed": (
        DATED.replace("{delisted: 2021-01-01}", "{listed: 2021-01-01, renamed: 2020-01-01}"),
        "entry 1: BBBUSDT: renamed 2020-01-01 00:00, expected a time after it was listed, 2021-0",
    ),
    "a symbol twice with dates": (
        DATED.replace("BBBUSDT", "AAAUSDT"),
        "not valid YAML in line 8: a key stands twice",
    ),
    "the same symbol twice in an entry": (
        COINS.replace("BBBUSDT", "AAAUSDT"),
        "symbol 'AAAUSDT' stands twice, at drawn and drawn; name it once",
    ),
    "the same symbol at two venues": (
        COINS + STOCKS.replace("CCCUSDT", "BBBUSDT"),
        "symbol 'BBBUSDT' stands twice, at drawn and nyse; name it once",
    ),
    "a key twice": (
        COINS + "    symbols: [CCCUSDT]\n",
        r"not valid YAML in line 3: a key stands twice",
    ),
}


@pytest.mark.parametrize("name", [*CATEGORIES, WITH_DELISTED])
def test_a_coin_that_was_renamed_ends_on_its_day_and_is_none_of_the_delisted(name):
    (matic,) = (a for a in read_universe(name).assets if a.symbol == "MATICUSDT")
    assert (matic.renamed_ms, matic.delisted_ms) == (parse_utc_ms("2024-09-10T03:00"), None)
    assert matic.ends_ms == matic.renamed_ms
    assert matic.trades_at(matic.renamed_ms - 1)
    assert not matic.trades_at(matic.renamed_ms)
    assert read_universe(name).n_delisted == (20 if name == WITH_DELISTED else 0)


@pytest.mark.parametrize("case", REFUSED)
def test_a_faulty_file_is_refused_in_one_line_that_names_file_and_fault(case, write):
    text, words = REFUSED[case]
    path = write(text)
    with pytest.raises(UsageError, match=words) as refusal:
        read_universe(path)
    message = str(refusal.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message


@pytest.fixture
def bars(store):
    """Return a folder of two venues that share a symbol."""
    for symbol, timeframe in (("AAAUSDT", "1m"), ("BBBUSDT", "1h"), ("DDDUSDT", "1d")):
        store.write(random_bars(300, symbol=symbol, timeframe=timeframe))
    for symbol in ("AAAUSDT", "EEEUSDT"):
        store.write(replace(random_bars(300, symbol=symbol), venue="other"))
    return store.root


def test_assets_are_taken_from_their_own_venue_and_the_missing_are_listed(bars):
    away, there, elsewhere = coin("ZZZUSDT"), coin("AAAUSDT"), coin("EEEUSDT")
    other = coin("EEEUSDT", "other")
    universe = Universe("mine", (away, there, other))
    assert present_and_missing(universe, bars, "1m") == (
        [(there, bars / "drawn" / "AAAUSDT"), (other, bars / "other" / "EEEUSDT")],
        [away],
    )
    assert present_and_missing(Universe("mine", (elsewhere,)), bars, "1m") == ([], [elsewhere])


def test_the_folder_of_one_venue_serves_assets_of_any(bars):
    universe = Universe("mine", (coin("AAAUSDT", "binance"), coin("EEEUSDT", "binance")))
    present, missing = present_and_missing(universe, bars / "drawn", "1m")
    assert present == [(universe.assets[0], bars / "drawn" / "AAAUSDT")]
    assert missing == [universe.assets[1]]


def test_an_asset_is_held_if_its_bars_add_up_to_the_timeframe(bars):
    universe = Universe("mine", tuple(map(coin, ("AAAUSDT", "BBBUSDT", "DDDUSDT"))))
    present, missing = present_and_missing(universe, bars, "1h")
    assert [asset.symbol for asset, _ in present] == ["AAAUSDT", "BBBUSDT"]
    assert missing == [universe.assets[2]]
    for asset, folder in present:
        assert read_bars(folder, symbol=asset.symbol, timeframe="1h").timeframe == "1h"


@pytest.mark.parametrize(
    ("dates", "held"),
    [
        ({"delisted": "2023-12-31T23:59"}, False),
        ({"renamed": "2023-12-31T23:59"}, False),
        ({"delisted": "2024-01-01T00:01"}, True),
        ({"listed": "2024-01-01T04:59"}, True),
        ({"listed": "2024-01-01T05:00"}, False),
        ({"listed": "2023-01-01", "delisted": "2024-01-01T02:00"}, True),
        ({}, True),
    ],
)
def test_an_asset_whose_bars_all_lie_outside_its_life_is_not_held(bars, dates, held):
    # 300 minutes from 2024-01-01 00:00, another coin's of the same ticker.
    moments = {f"{key}_ms": parse_utc_ms(text) for key, text in dates.items()}
    asset = coin("AAAUSDT", **moments)
    present, missing = present_and_missing(Universe("mine", (asset,)), bars, "1h")
    assert ([one for one, _ in present], missing) == (([asset], []) if held else ([], [asset]))


def test_a_damaged_manifest_is_held_and_told_by_who_reads_it(bars):
    (bars / "drawn" / "AAAUSDT" / "1m" / "manifest.json").write_text("{")
    asset = coin("AAAUSDT", delisted_ms=1)
    assert present_and_missing(Universe("mine", (asset,)), bars, "1m")[1] == []


def test_a_folder_or_timeframe_that_is_none_is_refused(bars, tmp_path):
    universe = read_universe("case_c")
    with pytest.raises(BarsError, match="nowhere: no such folder of bars"):
        present_and_missing(universe, tmp_path / "nowhere", "1h")
    with pytest.raises(UsageError, match="unknown timeframe '2m'"):
        present_and_missing(universe, bars, "2m")


def test_the_shared_bars_hold_every_asset_of_case_c_and_most_us_stocks(shared_data):
    bars = shared_data / "bars"
    assert present_and_missing(read_universe("case_c"), bars, "1h")[1] == []
    present, missing = present_and_missing(read_universe("case_a"), bars, "1d")
    count = Counter(asset.category for asset, _ in present)
    assert count == {"us": 280, "crypto": 43, "europe": 25, "commodities": 3, "emerging": 1}
    assert len(present) + len(missing) == 600
    assert all(folder == bars / asset.venue / asset.symbol for asset, folder in present)


def test_dates_are_read_as_utc_and_may_be_missing(write):
    universe = read_universe(write(DATED))
    assert universe.assets == (
        coin("AAAUSDT", listed_ms=1568160000000, delisted_ms=1652403600000),
        coin("BBBUSDT", delisted_ms=1609459200000),
        coin("CCCUSDT", listed_ms=1591007405000),
        coin("ON"),
    )
    assert (universe.n_undated, universe.n_delisted) == (2, 2)


@pytest.mark.parametrize(
    ("moment", "there"),
    [
        ("2019-09-10T23:59:59", ["BBBUSDT", "ON"]),
        ("2019-09-11", ["AAAUSDT", "BBBUSDT", "ON"]),
        ("2020-12-31T23:59", ["AAAUSDT", "BBBUSDT", "CCCUSDT", "ON"]),
        ("2021-01-01", ["AAAUSDT", "CCCUSDT", "ON"]),
        ("2022-05-13T00:59", ["AAAUSDT", "CCCUSDT", "ON"]),
        ("2022-05-13T01:00", ["CCCUSDT", "ON"]),
    ],
)
def test_a_universe_as_of_a_moment_holds_what_could_be_traded_then(write, moment, there):
    universe = read_universe(write(DATED)).as_of(parse_utc_ms(moment))
    assert universe.name == "mine"
    assert [asset.symbol for asset in universe.assets] == there


def test_a_universe_of_nothing_is_refused():
    universe = Universe("mine", (coin("AAAUSDT", listed_ms=parse_utc_ms("2020-01-01")),))
    with pytest.raises(UsageError, match="mine: no asset was listed at 2019-12-31 23:59"):
        universe.as_of(parse_utc_ms("2019-12-31T23:59"))


@pytest.mark.parametrize("name", [*CATEGORIES, WITH_DELISTED])
def test_what_is_written_is_read_again(name, tmp_path):
    path = tmp_path / f"{name}.yaml"
    write_universe(path, read_universe(name))
    assert read_universe(path) == read_universe(name)


WORDS = st.text(
    st.characters(codec="utf-8", exclude_categories=("Cc", "Cs", "Zl", "Zp")), min_size=1
)
MOMENTS = st.none() | st.integers(0, 4_000_000_000).map(lambda seconds: 1000 * seconds)
SYMBOLS = st.from_regex(r"[A-Za-z0-9^][A-Za-z0-9._^=+-]{0,8}", fullmatch=True)


@st.composite
def universes(draw) -> Universe:
    assets = []
    for symbol in draw(st.lists(SYMBOLS, min_size=1, max_size=6, unique=True)):
        listed_ms, delisted_ms = draw(MOMENTS), draw(MOMENTS)
        if None not in (listed_ms, delisted_ms) and delisted_ms <= listed_ms:
            delisted_ms = None
        end = draw(st.sampled_from(["delisted_ms", "renamed_ms"]))
        calendar = draw(st.sampled_from(CALENDARS))
        category, currency = draw(st.sampled_from(["us", "# no", "a: b", "on", "~"])), draw(WORDS)
        venue = draw(st.sampled_from(["x", "1e3", "no", "2020-01-01"]))
        assets.append(
            Asset(symbol, venue, category, currency, calendar, listed_ms, **{end: delisted_ms})
        )  # fmt: skip
    return Universe("drawn", tuple(assets))


@given(universe=universes())
def test_any_universe_is_read_again_as_it_was_written(universe, tmp_path_factory):
    path = tmp_path_factory.mktemp("drawn") / "drawn.yaml"
    write_universe(path, universe)
    assert read_universe(path) == universe
    assert path.read_text().startswith(f"# {len(universe.assets)} assets, {universe.n_delisted} of")
    assert [one.name for one in path.parent.iterdir()] == ["drawn.yaml"]


def test_known_listing_days_are_those_of_the_exchanges_first_bars(shared_data):
    """Of every asset whose first bars are at hand: the universe names their day, or none."""
    bars = shared_data / "bars" / "binance"
    listed = {asset.symbol: asset.listed_ms for asset in read_universe("case_a").assets}
    checked = 0
    for symbol in ("BTCUSDT", "APEUSDT", "ARBUSDT", "ARUSDT", "APTUSDT", "OPUSDT", "WLDUSDT"):
        first_ms = int(read_bars(bars, symbol=symbol, timeframe="1h").timestamp[0])
        assert listed[symbol] == first_ms // 86_400_000 * 86_400_000, symbol
        checked += 1
    assert checked == 7
    for asset, place in present_and_missing(read_universe("case_a"), bars, "15m")[0]:
        if asset.listed_ms is not None:
            held = read_bars(place, symbol=asset.symbol, timeframe="15m")
            assert asset.listed_ms <= held.timestamp[0], asset.symbol


def test_the_first_luna_of_the_shared_bars_ends_where_its_name_was_given_away(shared_data):
    universe = read_universe(WITH_DELISTED)
    (luna,) = (asset for asset in universe.assets if asset.symbol == "LUNAUSDT")
    (place,) = (p for a, p in present_and_missing(universe, shared_data / "bars", "1h")[0]
                if a == luna)  # fmt: skip
    bars = read_bars(place, symbol="LUNAUSDT", timeframe="1h")
    first_life = bars.between(luna.listed_ms, luna.delisted_ms)
    assert first_life.closes_at[-1] == luna.delisted_ms
    assert first_life.close[-1] < 0.01 < 4 < bars.close[len(first_life)]
    assert bars.timestamp[len(first_life)] == parse_utc_ms("2022-05-31T06:00")


class Listed:
    """A listing as sources have it."""

    def __init__(self, symbol, first_ms=None, last_ms=None):
        self.symbol, self.first_ms, self.last_ms = symbol, first_ms, last_ms


VENUE = {"venue": "binance", "category": "crypto", "currency": "USDT", "calendar": "24/7"}


def test_a_universe_of_listings_has_their_dates_in_their_order():
    listings = [Listed("BTCUSDT", 1000), ("LUNAUSDT", 2000, 9000), Listed("ETHUSDT")]
    universe, left_out = universe_from_listings("mine", listings, **VENUE)
    assert universe.assets == (
        coin("BTCUSDT", "binance", listed_ms=1000),
        coin("LUNAUSDT", "binance", listed_ms=2000, delisted_ms=9000),
        coin("ETHUSDT", "binance"),
    )
    assert (universe.name, left_out) == ("mine", {})


@pytest.mark.parametrize("joined", ["", "-", "_"])
def test_leveraged_tokens_and_money_are_left_out_and_counted(joined):
    bases = ["BTC", "BTCUP", "BTCDOWN", "JUP", "SYRUP", "BULL", "ETH", "ETHBEAR", "BNBBULL", "BNB",
             "USDC", "EUR", "1INCH", "1INCHUP", "BULLA", "PAXG"]  # fmt: skip
    names = [f"{base}{joined}USDT" for base in bases] + [f"ETH{joined}BTC", f"SOL{joined}BUSD"]
    universe, left_out = universe_from_listings(
        "mine", [(name, None, None) for name in names], quote="USDT", **VENUE
    )
    kept = ["BTC", "JUP", "SYRUP", "ETH", "BNB", "1INCH", "BULLA", "PAXG"]
    assert [asset.symbol for asset in universe.assets] == [f"{one}{joined}USDT" for one in kept]
    assert left_out == {"leveraged": 6, "money against money": 2, "not in USDT": 2}


def test_a_name_that_no_folder_can_have_is_left_out_and_none_left_is_refused():
    strange = ("币安人生USDT", None, None)
    universe, left_out = universe_from_listings("mine", [strange, ("AUSDT", 1, None)], **VENUE)
    assert [asset.symbol for asset in universe.assets] == ["AUSDT"]
    assert left_out == {"with a name that no folder can have": 1}
    with pytest.raises(UsageError, match="mine: nothing is left for a universe: 1 with a name"):
        universe_from_listings("mine", [strange], **VENUE)
    with pytest.raises(UsageError, match="mine: nothing is left for a universe: no listings"):
        universe_from_listings("mine", [], **VENUE)
