"""Who was liquid when: by what was known then, and by nothing that came later."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drawn import START_MS, random_bars
from walkforge.base import UsageError, parse_utc_ms, timeframe_ms
from walkforge.market import Bars, Membership, liquidity, membership, most_liquid

DAY_MS = 86_400_000


def days_of(volumes, *, symbol="AAA", start="2024-01-01", timeframe="1d", close=1.0) -> Bars:
    """Return flat bars of these volumes; a bar of None is missing."""
    step_ms = timeframe_ms(timeframe)
    rows = [row for row, volume in enumerate(volumes) if volume is not None]
    price = np.full(len(rows), close)
    return Bars(
        venue="drawn",
        symbol=symbol,
        timeframe=timeframe,
        timestamp=parse_utc_ms(start) + step_ms * np.array(rows, dtype=np.int64),
        open=price, high=price, low=price, close=price,
        volume=np.array([float(volumes[row]) for row in rows]),
        calendar="24/7",
    )  # fmt: skip


def chosen(bars, at, *, most=2, days=4):
    by_symbol = {one.symbol: one for one in bars}
    return most_liquid(by_symbol, most=most, lookback_days=days, at_ms=parse_utc_ms(at))


def test_a_days_volume_is_what_was_traded_in_quote_currency():
    hours = days_of([1, 2, None, *[0] * 21, 10, 20], timeframe="1h", close=3.0)
    found = liquidity(hours)
    assert found.day_ms.tolist() == [START_MS, START_MS + DAY_MS]
    assert found.quote_volume.tolist() == [9.0, 90.0]
    empty = liquidity(hours.take(slice(0, 0)))
    assert len(empty.day_ms) == len(empty.quote_volume) == 0


@pytest.mark.parametrize("timeframe", ["5m", "4h", "1d"])
def test_daily_volume_agrees_with_a_plain_sum(timeframe):
    bars = random_bars(700, timeframe=timeframe, holes_at=(50, 300))
    plain: dict[int, float] = {}
    for opened, close, volume in zip(bars.timestamp, bars.close, bars.volume, strict=True):
        day = int(opened) // DAY_MS * DAY_MS
        plain[day] = plain.get(day, 0.0) + close * volume
    found = liquidity(bars)
    assert found.day_ms.tolist() == list(plain)
    np.testing.assert_allclose(found.quote_volume, list(plain.values()), rtol=1e-12)


def test_a_bar_that_runs_over_midnight_counts_when_it_is_complete():
    odd = days_of([5, 7], start="2024-01-01T22:00", timeframe="4h")
    assert liquidity(odd).day_ms.tolist() == [parse_utc_ms("2024-01-02")]
    daily = days_of([5, 7], start="2024-01-01T05:00")
    assert liquidity(daily).day_ms.tolist() == [
        parse_utc_ms("2024-01-02"),
        parse_utc_ms("2024-01-03"),
    ]


def test_bars_longer_than_a_day_tell_no_days_volume():
    with pytest.raises(UsageError, match="drawn/AAA/1w: bars of 1w tell no day's volume"):
        liquidity(days_of([1, 2], timeframe="1w"))


def test_the_most_traded_come_first_and_of_two_alike_the_first_by_name():
    bars = [days_of([v] * 6, symbol=s) for s, v in {"C": 5, "A": 5, "B": 9, "D": 1}.items()]
    assert chosen(bars, "2024-01-06", most=3) == ["B", "A", "C"]
    assert chosen(bars, "2024-01-06", most=9) == ["B", "A", "C", "D"]


def test_what_counts_is_the_median_and_no_single_day():
    spike = days_of([1, 1, 900, 1, 1], symbol="SPIKE")
    steady = days_of([2] * 5, symbol="STEADY")
    assert chosen([spike, steady], "2024-01-05") == ["STEADY", "SPIKE"]


def test_only_whole_days_before_the_moment_count():
    rising = days_of([1, 1, 1, 1, 9, 9, 9, 9, 9], symbol="RISING")
    steady = days_of([5] * 9, symbol="STEADY")
    # Two of four days are 1, two are 9: a median of 5, and the name decides.
    assert chosen([rising, steady], "2024-01-06") == ["STEADY", "RISING"]
    assert chosen([rising, steady], "2024-01-07T23:59") == ["RISING", "STEADY"]
    assert chosen([rising, steady], "2024-01-08") == ["RISING", "STEADY"]


def test_half_of_the_days_must_be_there_and_have_volume():
    bars = [
        days_of([None, None, 1, 1], symbol="HALF"),
        days_of([None, None, None, 9], symbol="FEW"),
        days_of([0, 0, 0, 9], symbol="STILL"),
        days_of([3, 3, 3, 3], symbol="ALL"),
    ]
    assert chosen(bars, "2024-01-05") == ["ALL", "HALF"]
    assert chosen(bars, "2023-12-31") == []
    assert chosen(bars, "2024-02-01") == []  # as delisted


@pytest.mark.parametrize("asked", [{"most": 0}, {"days": 0}])
def test_less_than_one_is_refused(asked):
    with pytest.raises(UsageError, match=r"(most|lookback_days) is 0; expected at least 1"):
        chosen([days_of([1])], "2024-01-02", **asked)
    with pytest.raises(UsageError, match=r"expected at least 1"):
        membership({}, most=1, lookback_days=0)
    with pytest.raises(UsageError, match=r"unknown rebalancing '1y'.*; choose one of 1mo, 1w"):
        membership({}, most=1, lookback_days=1, every="1y")


def _two():
    """Return one that is liquid until mid-February, when it is delisted, and one that follows."""
    return {
        "OLD": days_of([9] * 45, symbol="OLD"),
        "NEW": days_of([1] * 15 + [5] * 80, symbol="NEW"),
    }


def test_members_are_chosen_on_the_first_of_each_month():
    found = membership(_two(), most=1, lookback_days=20)
    dates = [parse_utc_ms(text) for text in ("2024-02-01", "2024-03-01", "2024-04-01")]
    assert found == Membership(tuple(dates), (("OLD",), ("NEW",), ("NEW",)))
    weekly = membership(_two(), most=1, lookback_days=20, every="1w")
    assert weekly.dates_ms[0] == parse_utc_ms("2024-01-08")
    assert {at % (7 * DAY_MS) for at in weekly.dates_ms} == {4 * DAY_MS}
    assert weekly.dates_ms[-1] == parse_utc_ms("2024-04-01")
    assert membership({}, most=1, lookback_days=20) == Membership((), ())


def test_each_date_has_the_members_that_were_the_most_liquid_then():
    bars = {s: random_bars(2000, seed=n, symbol=s, timeframe="1h") for n, s in enumerate("ABCDE")}
    found = membership(bars, most=2, lookback_days=9, every="1w")
    assert len(found.dates_ms) == 11
    assert len(set(found.members)) > 3
    for at_ms, members in zip(found.dates_ms, found.members, strict=True):
        assert list(members) == most_liquid(bars, most=2, lookback_days=9, at_ms=at_ms)


def test_a_bar_is_decided_on_by_the_members_at_its_close():
    bars = _two()
    found = membership(bars, most=1, lookback_days=20)
    old, new = (found.mask(bars[symbol]) for symbol in ("OLD", "NEW"))
    # The bar of 31 January closes at the moment at which February's members are known.
    assert old.tolist() == [False] * 30 + [True] * 15
    assert new.tolist() == [False] * 59 + [True] * 36
    assert not found.mask(replace(bars["NEW"], symbol="OTHER")).any()
    assert found.mask(bars["NEW"].take(slice(0, 0))).shape == (0,)


def test_shorter_bars_of_a_member_are_masked_by_its_days():
    found = membership(_two(), most=1, lookback_days=20)
    minutes = days_of([1] * 4, symbol="OLD", start="2024-01-31T23:57", timeframe="1m")
    assert found.mask(minutes).tolist() == [False, False, True, True]


def _poisoned(bars: Bars, from_ms: int) -> Bars:
    """Return bars with noise in every one that is not complete by `from_ms`."""
    late = bars.closes_at > from_ms
    random = np.random.default_rng(7)
    noise = np.exp(random.normal(0, 3, (5, int(late.sum()))))
    changed = {}
    for row, name in enumerate(("open", "high", "low", "close", "volume")):
        changed[name] = getattr(bars, name).copy()
        changed[name][late] = noise[row]
    return replace(bars, **changed)


MARKET = {
    symbol: random_bars(1500, seed=n, symbol=symbol, timeframe="2h", holes_at=(100 + 50 * n,))
    for n, symbol in enumerate("ABCDEF")
}
CLEAN = membership(MARKET, most=2, lookback_days=10, every="1w")


@settings(max_examples=40, deadline=None)
@given(cut_h=st.integers(min_value=24, max_value=2900))
def test_noise_after_a_date_changes_no_member_and_no_mask_up_to_it(cut_h):
    cut_ms = START_MS + cut_h * 3_600_000
    dirty_bars = {symbol: _poisoned(bars, cut_ms) for symbol, bars in MARKET.items()}
    dirty = membership(dirty_bars, most=2, lookback_days=10, every="1w")
    before = sum(at_ms <= cut_ms for at_ms in CLEAN.dates_ms)
    assert dirty.dates_ms == CLEAN.dates_ms
    assert dirty.members[:before] == CLEAN.members[:before]
    assert most_liquid(dirty_bars, most=3, lookback_days=10, at_ms=cut_ms) == most_liquid(
        MARKET, most=3, lookback_days=10, at_ms=cut_ms
    )
    for symbol, bars in MARKET.items():
        known = bars.closes_at <= cut_ms
        np.testing.assert_array_equal(
            dirty.mask(dirty_bars[symbol])[known], CLEAN.mask(bars)[known]
        )


def test_the_noise_of_the_test_above_does_change_what_comes_after_it():
    cut_ms = CLEAN.dates_ms[4]
    dirty_bars = {symbol: _poisoned(bars, cut_ms) for symbol, bars in MARKET.items()}
    dirty = membership(dirty_bars, most=2, lookback_days=10, every="1w")
    assert dirty.members[5:] != CLEAN.members[5:]


@settings(max_examples=25, deadline=None)
@given(cut=st.integers(min_value=13, max_value=1500))
def test_cutting_off_the_future_does_not_change_the_past(cut):
    cut_ms = START_MS + cut * timeframe_ms("2h")
    short = {symbol: bars.between(None, cut_ms) for symbol, bars in MARKET.items()}
    found = membership(short, most=2, lookback_days=10, every="1w")
    n = len(found.dates_ms)
    assert found.dates_ms == CLEAN.dates_ms[:n]
    assert found.members == CLEAN.members[:n]
