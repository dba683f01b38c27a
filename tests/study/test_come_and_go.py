"""Assets that take part for a time: while they are liquid, from listed until delisted."""

import json
from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from drawn import START_MS, random_bars
from study.token_studies import token_study
from study_runs import small_study
from walkforge import study
from walkforge.base import FoldError, Silent, StudyError
from walkforge.folds import SLICES
from walkforge.market import BarStore, Membership, membership
from walkforge.study._liquid import members_of
from walkforge.study._lives import survivorship_told
from walkforge.study._prepare import prepare
from walkforge.study._shared_calendar import cuts_told
from walkforge.study._token_market import token_market
from walkforge.study._tune_space import ranges_of
from walkforge.study._tune_worlds import Worlds

HOUR_MS = 3_600_000
LIQUID = ("data.timeframe=1h", "data.most_liquid=2", "data.liquid_days=10", "seeds=[0]")
FOLDS = ("folds.test=150", "folds.validation=100", "folds.calibration=100")


def _hours(symbol, seed, *, n=2700, liquid=(0, 0)):
    """Return hours of noise from January to April, with much volume in a stretch of rows."""
    bars = random_bars(n, seed=seed, symbol=symbol, timeframe="1h")
    volume = bars.volume.copy()
    volume[slice(*liquid)] *= 50.0
    return replace(bars, volume=volume)


def _market():
    """Return one that is always liquid, two that change places in March, and one that never is."""
    return {
        "ALWAYS": _hours("ALWAYS", 1, liquid=(0, 2700)),
        "EARLY": _hours("EARLY", 2, liquid=(0, 1250)),
        "LATE": _hours("LATE", 3, liquid=(1250, 2700)),
        "NEVER": _hours("NEVER", 4),
    }


class Noting(Silent):
    def __init__(self):
        self.notes = []

    def note(self, text):
        self.notes.append(text)


def _json(folder, name):
    return json.loads((folder / name).read_text())


def _members(bars):
    return membership(bars, most=2, lookback_days=10)


def test_members_are_those_of_the_first_timeframe_of_every_symbol():
    bars = _market()
    both = {f"{s}/1h": one for s, one in bars.items()} | {
        f"{s}/5m": random_bars(50, symbol=s, timeframe="5m") for s in bars
    }
    data = small_study(*LIQUID, "data.more_timeframes=[5m]").data
    found = members_of(data, both)
    assert found == _members(bars)
    expected = [["ALWAYS", "EARLY"], ["ALWAYS", "LATE"], ["ALWAYS", "LATE"]]
    assert [sorted(one) for one in found.members] == expected
    assert members_of(small_study("data.timeframe=1h").data, bars) is None


@pytest.mark.parametrize("calendar", ["common", "own"])
def test_every_row_that_teaches_or_tests_is_one_of_a_member_then(calendar):
    bars = _market()
    prepared = prepare(bars, small_study(*LIQUID, *FOLDS, f"folds.calendar={calendar}"))
    members = _members(bars)
    assert {part.series for part in prepared.parts} >= {"ALWAYS", "LATE"}
    for part in prepared.parts:
        member = members.mask(bars[part.series])
        for name in SLICES:
            rows = getattr(part.rows, name)
            assert len(rows)
            assert member[rows].all()
    assert prepared.left_out["NEVER"] == "NEVER: never among the 2 most liquid"
    for name, one in prepared.series.items():
        assert not (one.usable & ~members.mask(bars[name])).any()
    whole = prepare(bars, small_study("data.timeframe=1h", "seeds=[0]", *FOLDS))
    for name, one in prepared.series.items():
        usable = whole.series[name].usable
        assert (one.usable == usable & members.mask(bars[name])).all()
        told = one.dropped["not among the most liquid then"]
        assert told == usable.sum() - one.usable.sum()


def test_a_series_is_judged_in_the_folds_in_which_it_is_liquid():
    bars = _market()
    # EARLY is a member until the end of February, LATE from March on.
    plan = small_study(*LIQUID, *FOLDS, "folds.count=10")
    prepared = prepare(bars, plan)
    folds = {}
    for part in prepared.parts:
        folds.setdefault(part.series, []).append(part.fold.index)
    assert folds == {"ALWAYS": [*range(10)], "EARLY": [0, 1], "LATE": [4, 5, 6, 7, 8, 9]}
    shared = {part.fold.index: part.fold for part in prepared.parts}
    assert all(part.fold == shared[part.fold.index] for part in prepared.parts)


def _poisoned(one, edge_ms, seed):
    """Return bars with other volume in every one that is not complete by a moment."""
    volume, late = one.volume.copy(), one.closes_at > edge_ms
    volume[late] = np.random.default_rng(seed).lognormal(9, 5, int(late.sum()))
    return replace(one, volume=volume)


def test_the_choice_of_members_learns_nothing_from_what_comes_later():
    bars, plan = _market(), small_study(*LIQUID, *FOLDS, "folds.count=10")
    clean = prepare(bars, plan)
    edge_ms = next(part.fold.test.from_ms for part in clean.parts if part.fold.index == 3)
    noise = {name: _poisoned(one, edge_ms, seed) for seed, (name, one) in enumerate(bars.items())}
    dirty = prepare(noise, plan)
    changed = False
    for name, one in clean.series.items():
        other, known = dirty.series[name].usable, one.bars.closes_at <= edge_ms
        assert np.array_equal(one.usable[known], other[known])
        changed |= not np.array_equal(one.usable, other)
    assert changed  # by the noise, later
    after = {(part.series, part.fold.index): part for part in dirty.parts}
    early = [part for part in clean.parts if part.fold.index <= 3]
    assert len(early) >= 6
    for before in early:
        same = after[before.series, before.fold.index]
        assert same.fold == before.fold
        for name in ("train", "validation", "calibration"):
            assert np.array_equal(getattr(before.rows, name), getattr(same.rows, name))
        assert before.scaler.as_dict() == same.scaler.as_dict()


@pytest.fixture(scope="module")
def liquid_run(tmp_path_factory):
    """Return a finished run on the two most liquid, what it noted, and the study."""
    folder = tmp_path_factory.mktemp("liquid")
    store = BarStore(folder / "bars")
    for one in _market().values():
        store.write(one)
    plan = small_study(*LIQUID, *FOLDS, "folds.count=2", f"data.bars={store.root / 'drawn'}")
    seen = Noting()
    return study.run(plan, folder / "run", watcher=seen), seen.notes, plan


def test_a_run_predicts_members_alone_and_tells_when_they_were(liquid_run):
    run, notes, _ = liquid_run
    members = _members(_market())
    rows = pl.read_parquet(run / "predictions.parquet")
    assert sorted(rows["symbol"].unique()) == ["ALWAYS", "LATE"]
    for symbol, one in _market().items():
        opened = rows.filter(symbol=symbol)["timestamp"].dt.epoch("ms").to_numpy()
        decided = np.isin(one.timestamp, opened)
        assert members.mask(one)[decided].all()
    told = {name: one["most_liquid"] for name, one in _json(run, "data_info.json").items()}
    assert list(told) == ["ALWAYS", "EARLY", "LATE", "NEVER"]
    assert told["NEVER"] == {"decisions": 0, "first": None, "last": None}
    assert told["EARLY"]["last"] == "2024-02-29 23:00"
    assert told["LATE"]["first"] == "2024-03-01 00:00"
    assert told["ALWAYS"]["decisions"] > told["LATE"]["decisions"] > 500
    assert "warning: NEVER left out: NEVER: never among the 2 most liquid" in notes
    assert sorted(_json(run, "run.json")["left_out"]) == ["EARLY", "NEVER"]
    page = (run / "report.html").read_text()
    assert "3 of 4 symbols took part, each while it was among the most liquid" in page
    assert "2 symbols × 2 folds" in page
    assert "teach but are not judged" not in page


def test_a_run_that_is_taken_up_before_it_has_learned_has_the_same_members(liquid_run, tmp_path):
    run, _, plan = liquid_run
    place = tmp_path / "again"

    class CutOff(Silent):
        def epoch(self, report):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        study.run(plan, place, watcher=CutOff())
    study.resume(place)
    for name in ("folds.json", "data_info.json", "metrics.json"):
        assert (place / name).read_bytes() == (run / name).read_bytes(), name


def test_forecasters_decide_for_members_alone():
    bars = _market()
    plan = small_study(
        *LIQUID, *FOLDS, "features.window_bars=4",
        "model={name: bilstm, encoder: [4], decoder_hidden: 4}",
    )  # fmt: skip
    prepared = prepare(bars, plan)
    members = _members(bars)
    assert prepared.targets is not None
    for part in prepared.parts:
        assert members.mask(bars[part.series])[part.rows.test].all()


def test_a_market_gpt_learns_from_all_tokens_and_decides_for_members_alone():
    bars = _market()
    plan = token_study(*LIQUID, "folds.count=1")
    prepared, whole = prepare(bars, plan), prepare(bars, token_study(*LIQUID[:1], "folds.count=1"))
    members = _members(bars)
    for part in prepared.parts:
        for name in ("train", "calibration", "test"):
            assert members.mask(bars[part.series])[getattr(part.rows, name)].all()
    assert {part.series for part in prepared.parts} == {"ALWAYS", "LATE"}
    assert {part.series for part in whole.parts} == set(bars)
    fold = prepared.parts[0].fold
    taught = token_market(plan, prepared, fold)
    assert list(taught.asset_of) == list(bars)
    for name in bars:
        assert (taught.table.piece[taught.rows_of(name)] == SLICES.index("train")).sum() > 1000


def test_a_search_goes_over_the_rows_of_members():
    bars = _market()
    plan = small_study(
        *LIQUID, *FOLDS, "folds.count=10",
        "tune.space.features.window_bars={low: 1, high: 6}", "tune.folds=all",
    )  # fmt: skip
    worlds = Worlds(bars, plan, ranges_of(plan))
    found = worlds.of(plan)
    assert sorted(worlds.left_out) == ["NEVER"]
    assert {part.series for part in found.parts} == {"ALWAYS", "EARLY", "LATE"}
    members = _members(bars)
    for part in found.parts:
        assert members.mask(bars[part.series])[part.rows.validation].all()


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("data.most_liquid=0", r"data\.most_liquid is 0; expected at least 1, or null"),
        ("data.liquid_days=0", r"data\.liquid_days is 0; expected at least 1"),
    ],
)
def test_nonsense_is_refused(override, message):
    with pytest.raises(StudyError, match=message):
        small_study(*LIQUID, override)


def test_what_cannot_tell_volume_is_refused():
    with pytest.raises(StudyError, match=r"which data\.timeframe 1w does not tell"):
        small_study(*LIQUID, "data.timeframe=1w")
    still = {name: replace(one, volume=0 * one.volume) for name, one in _market().items()}
    with pytest.raises(StudyError, match=r"no symbol has volume on half of the 10 days before"):
        prepare(still, small_study(*LIQUID))


def test_newest_bars_of_each_do_not_go_with_the_most_liquid_of_all():
    # Of a dead symbol they lie where the others would have none.
    with pytest.raises(
        StudyError, match=r"data\.newest_bars is 500 .*: the newest bars of a symbol"
    ):
        prepare(_market(), small_study(*LIQUID, "data.newest_bars=500"))


UNIVERSE = """
assets:
  - venue: drawn
    category: coins
    currency: USD
    calendar: 24/7
    symbols: {SYMBOLS}
"""


@pytest.fixture
def dated(tmp_path):
    """Return a function that makes a study of a universe with dates, and its bars."""
    store = BarStore(tmp_path / "bars")
    for number, symbol in enumerate(("AAA", "BBB", "CCC")):
        store.write(random_bars(2200, seed=number, symbol=symbol))

    def plan(symbols: str, *more: str):
        path = tmp_path / "mine.yaml"
        path.write_text(UNIVERSE.replace("{SYMBOLS}", symbols))
        named = (f"data.universe={path}", f"data.bars={store.root}", "seeds=[0]")
        return small_study(*named, *more)

    return plan


def test_an_assets_bars_are_those_between_its_dates(dated):
    symbols = "{AAA: {listed: 2024-01-01T10:00}, BBB: {delisted: 2024-01-02T06:00}, CCC}"
    bars = study.read_bars(dated(symbols))
    assert [len(one) for one in bars.values()] == [2200 - 600, 30 * 60, 2200]
    assert bars["AAA"].timestamp[0] == START_MS + 10 * HOUR_MS
    assert bars["BBB"].closes_at[-1] == START_MS + 30 * HOUR_MS
    later = study.read_bars(dated(symbols, "data.start=2024-01-02T07:00"))
    assert list(later) == ["AAA", "CCC"]


def test_a_reused_ticker_is_never_mixed_with_its_other_life(dated):
    first = study.read_bars(dated("{AAA: {delisted: 2024-01-01T12:00}}"))["AAA"]
    second = study.read_bars(dated("{AAA: {listed: 2024-01-01T20:00}}"))["AAA"]
    assert first.closes_at[-1] == START_MS + 12 * HOUR_MS
    assert second.timestamp[0] == START_MS + 20 * HOUR_MS


# Six test windows of three hours end with the bars.
SIX_FOLDS = ("folds.count=6", "folds.test=180", "folds.validation=120", "folds.calibration=120")
# After the embargo of the fifth one BBB has one row and the bar at whose close it ends.
LIVES = "{AAA, BBB: {delisted: 2024-01-02T06:44}, CCC: {delisted: 2024-01-01T12:00}}"


def test_a_delisted_asset_takes_part_for_its_time_to_its_last_row(dated, tmp_path):
    seen = Noting()
    run = study.run(dated(LIVES, *SIX_FOLDS), tmp_path / "run", watcher=seen)
    folds_of: dict[str, dict[int, int]] = {}
    for one in _json(run, "folds.json"):
        folds_of.setdefault(one["series"], {})[one["fold"]] = one["rows"]["test"]
    assert list(folds_of) == ["AAA", "BBB"]
    assert list(folds_of["AAA"]) == [0, 1, 2, 3, 4, 5]
    assert folds_of["BBB"] == {0: 175, 1: 175, 2: 175, 3: 175, 4: 1}
    assert "1 of 2 series have rows for some of the 6 folds only" in seen.notes
    assert not any("survivorship" in text for text in seen.notes)
    assert "survivorship" not in _json(run, "run.json")
    assert list(_json(run, "data_info.json")) == ["AAA", "BBB", "CCC"]
    assert "most_liquid" not in _json(run, "data_info.json")["AAA"]
    counts = pl.read_parquet(run / "predictions.parquet").group_by("symbol").len()
    assert dict(counts.iter_rows())["BBB"] == 4 * 175 + 1
    assert sorted(_json(run, "metrics.json")["model"]["by_symbol"]) == ["AAA", "BBB"]


@pytest.mark.parametrize("kind", ["direction", "triple_barrier"])
def test_the_end_of_a_delisted_asset_is_an_outcome_and_that_of_the_data_is_none(dated, kind):
    plan = dated(LIVES, *SIX_FOLDS, f"labels.kind={kind}")
    bars = study.read_bars(plan)
    series = prepare(bars, plan).series
    for name, one in series.items():
        last = len(one.bars) - 1
        assert one.usable[last - 1] == (name != "AAA")
        assert not one.usable[last]
        if name != "AAA":
            assert one.usable[last - 30 : last].all()
            assert one.outcomes.resolved_at[last - 1] == one.bars.closes_at[last]
    for more in ("data.end=2024-01-02T06:43", "data.end=2024-01-02T06:00"):
        cut = replace(plan, data=small_study(*_data_of(plan), more).data)
        series = prepare(study.read_bars(cut), cut).series
        assert not series["BBB"].usable[-2]
        assert series["CCC"].usable[-2]
    # Three days before it was delisted the store has no more bars: more are to come.
    early = dated("{AAA, BBB: {delisted: 2024-01-05T06:43}}", *SIX_FOLDS)
    assert not prepare(bars, early).series["BBB"].usable[-2]
    # Bars that go on after it are not those of its life.
    assert not prepare({"BBB": _minutes(2200)}, plan).series["BBB"].usable[-2]


def _data_of(plan):
    return f"data.universe={plan.data.universe}", f"data.bars={plan.data.bars}", "seeds=[0]"


def _minutes(n):
    return random_bars(n, seed=1, symbol="BBB")


def test_an_outcome_that_the_end_tells_is_purged_by_the_moment_of_the_end(dated):
    # BBB dies fourteen bars after the beginning of the fourth test slice, a horizon is thirty.
    lives = "{AAA, BBB: {delisted: 2024-01-02T03:25}}"
    plan = dated(lives, *SIX_FOLDS, "labels.horizon_bars=30")
    prepared = prepare(study.read_bars(plan), plan)
    outcomes = prepared.series["BBB"].outcomes
    by_end = outcomes.resolved_at == prepared.series["BBB"].bars.closes_at[-1]
    assert by_end.sum() == 30
    parts = [part for part in prepared.parts if part.series == "BBB"]
    assert [part.fold.index for part in parts] == [0, 1, 2, 3]
    for part in parts:
        for name in SLICES[:-1]:
            rows = getattr(part.rows, name)
            assert (outcomes.resolved_at[rows] < getattr(part.fold, name).to_ms).all()
    assert sum(by_end[part.rows.test].sum() for part in parts) == 30 - 5  # the embargo's
    assert not by_end[parts[-1].rows.calibration].any()


def test_a_list_of_survivors_is_told_in_the_run_and_in_its_report(dated, tmp_path):
    plan = dated("{AAA: {listed: 2020-01-01}, BBB}", "data.most_symbols=1", "folds.count=1")
    seen = Noting()
    run = study.run(plan, tmp_path / "run", watcher=seen)
    words = (
        "survivorship: mine names nothing that was delisted, so its past is survivors' and "
        "data.most_symbols keeps what turned out to have the most bars"
    )
    assert f"warning: {words}" in seen.notes
    assert _json(run, "run.json")["survivorship"] == words
    page = (run / "report.html").read_text()
    assert page.count("Survivorship: mine names nothing that was delisted") == 1


def test_delisted_assets_that_only_the_list_has_leave_a_list_of_survivors(dated, tmp_path):
    # ZZZ and YYY have no bars.
    gone = "ZZZ: {delisted: 2024-01-02}, YYY: {delisted: 2024-01-02}"
    plan = dated(f"{{AAA, BBB, {gone}}}", "folds.count=1")
    seen = Noting()
    run = study.run(plan, tmp_path / "run", watcher=seen)
    words = "survivorship: of 2 delisted assets 0 have bars, so its past is survivors'"
    assert f"warning: {words}" in seen.notes
    assert _json(run, "run.json")["survivorship"] == words
    assert "Survivorship: of 2 delisted assets 0 have bars" in (run / "report.html").read_text()


@pytest.mark.parametrize(
    ("symbols", "more", "judged", "words"),
    [
        ("{AAA, CCC: {delisted: 2024-01-01T12:00}}", "", ["AAA"],
         "of 1 delisted assets 1 have bars and 0 are judged, so its past is survivors'"),
        ("{AAA, CCC: {delisted: 2024-01-01T12:00}}", "", ["AAA", "CCC"], ""),
        ("{AAA, CCC: {delisted: 2024-01-01T12:00}, ZZZ: {delisted: 2024-01-02}}", "", ["CCC"],
         "of 2 delisted assets 1 have bars and 1 are judged, so part of its past is survivors'"),
        ("{AAA, BBB, CCC: {delisted: 2024-01-01T12:00}}", "data.symbols=[AAA,BBB]", ["AAA", "BBB"],
         "data.symbols takes none of the 1 delisted assets of mine, so its past is survivors'"),
        ("{AAA, CCC: {delisted: 2024-01-01T12:00}, ZZZ: {delisted: 2023-01-02}}",
         "data.start=2024-01-01", ["AAA", "CCC"], ""),
        ("{AAA, ZZZ: {delisted: 2023-01-02}}", "data.start=2024-01-01", ["AAA"],
         "no delisted asset of mine was listed in the study's time, so its past is survivors'"),
        ("{AAA, CCC: {renamed: 2024-01-01T12:00}}", "", ["AAA", "CCC"],
         "mine names nothing that was delisted, so its past is survivors'"),
    ],
)  # fmt: skip
def test_survivors_are_told_by_what_was_read_and_judged(dated, symbols, more, judged, words):
    plan = dated(symbols, *([more] if more else []))
    told = survivorship_told(plan.data, study.read_bars(plan), judged)
    assert told == (f"survivorship: {words}" if words else "")


def test_a_renamed_asset_cuts_the_calendar_of_no_other_and_its_end_is_no_outcome(dated):
    plan = dated("{AAA, BBB: {renamed: 2024-01-02T06:43}}", *SIX_FOLDS)
    prepared = prepare(study.read_bars(plan), plan)
    assert {part.fold.index for part in prepared.parts if part.series == "AAA"} == set(range(6))
    assert prepared.series["BBB"].bars.closes_at[-1] == START_MS + (30 * 60 + 43) * 60_000
    assert not prepared.series["BBB"].usable[-2]


def _days(symbol, first, last):
    bars = random_bars(1200, seed=len(symbol), symbol=symbol, timeframe="1d")
    return bars.take(slice(first, last))


def test_a_series_that_cuts_the_calendar_of_the_others_is_told_with_the_way_out():
    bars = {s: _days(s, 0, 1200) for s in ("AAA", "BBBB")} | {"OLD": _days("OLD", 0, 900)}
    notes = []
    plan = small_study("data.timeframe=1d", "seeds=[0]", "folds.count=1", "folds.test=60")
    plan = replace(plan, folds=replace(plan.folds, validation=60, calibration=60))
    prepared = prepare(bars, plan, note=notes.append)
    (told,) = (text for text in notes if text.startswith("warning"))
    assert told == (
        "warning: the common calendar is what all series share, and these cut more than a month "
        "off what most have: OLD (decides 2024-07-20 to 2026-06-16) 10 months; set "
        "folds.calendar=own, choose data.start or data.end, or leave them out"
    )
    assert prepared.parts[0].fold.test.to_ms < bars["OLD"].closes_at[-1]
    for other in (
        {name: one for name, one in bars.items() if name != "OLD"},
        bars | {"OLD": _days("OLD", 0, 1175)},
    ):
        notes.clear()
        prepare(other, plan, note=notes.append)
        assert not any(text.startswith("warning") for text in notes)
    own = replace(plan, folds=replace(plan.folds, calendar="own"))
    notes.clear()
    prepare(bars, own, note=notes.append)
    assert not any(text.startswith("warning") for text in notes)


def test_what_is_missing_at_the_beginning_or_in_a_hole_cuts_as_well():
    day_ms = 86_400_000
    whole = np.arange(400) * day_ms
    holed = np.delete(whole, slice(100, 200))
    told = cuts_told({"A": whole, "B": whole, "LATE": whole[60:], "HOLED": holed, "C": whole})
    assert "HOLED (decides 1970-01-01 to 1971-02-04) 3 months, LATE (" in told
    # Two timeframes of one market decide at other moments of the same weeks.
    assert cuts_told({"A/1d": whole, "A/1w": whole[::7]}) == ""
    assert cuts_told({"A": whole, "B": whole[40:]}).count("months") == 1


def test_volumes_of_several_currencies_are_told_to_be_compared_as_one(tmp_path):
    entry = UNIVERSE.replace("{SYMBOLS}", "[ALWAYS, EARLY]")
    other = entry.replace("\nassets:\n", "").replace("USD", "EUR").replace("ALWAYS, EARLY", "LATE")
    (tmp_path / "mine.yaml").write_text(entry + other)
    named = (*LIQUID, *FOLDS, f"data.universe={tmp_path / 'mine.yaml'}")
    bars, notes = _market(), []
    prepare(bars, small_study(*named), note=notes.append)
    words = "warning: data.most_liquid compares volumes in EUR, USD as if they were one currency"
    assert sum(text.startswith(words) for text in notes) == 1
    notes.clear()
    del bars["LATE"]
    prepare(bars, small_study(*named), note=notes.append)
    assert not any("currency" in text for text in notes)


def test_bars_that_somebody_gives_are_told_nothing_about(dated, tmp_path):
    plan = dated("[AAA]")
    bars = {"AAA": random_bars(60, symbol="AAA")}
    seen = Noting()
    with pytest.raises(FoldError):
        study.run(plan, tmp_path / "run", watcher=seen, bars=bars)
    assert not any("survivorship" in text for text in seen.notes)


def test_an_empty_membership_masks_everything():
    bars = _hours("AAA", 1, n=30)
    assert not Membership((), ()).mask(bars).any()
