"""Choosing one of several runs: which are surely better, and what the best account is worth."""

import json

import numpy as np
import polars as pl
import pytest

from compared_runs import DAY_MS, P, rewrite, wiser
from walkforge import study
from walkforge.base import json_text
from walkforge.statistics import probability_of_backtest_overfitting
from walkforge.study._compare_choice import pbo_by_luck


def _shaken(seed):
    def shake(table):
        noise = np.random.default_rng(seed).normal(0, 0.05, (len(table), 3))
        p = table.select(P).to_numpy() * np.exp(noise)
        p /= p.sum(axis=1, keepdims=True)
        return table.with_columns(pl.Series(name, p[:, k]) for k, name in enumerate(P))

    return shake


def _earn(folder, pnl, *, first_day=19_000, step_days=1):
    """Give a run two decisions a day, and two trades a day that earn `pnl` together."""
    days = first_day + step_days * np.arange(len(pnl))
    stamps = np.stack([days * DAY_MS, days * DAY_MS + 43_200_000], axis=1).ravel()
    when = pl.Series(stamps).cast(pl.Datetime("ms", "UTC"))
    first = pl.read_parquet(folder / "predictions.parquet").filter(
        (pl.col("symbol") == "AAA") & (pl.col("seed") == 0)
    )
    first[: len(stamps)].with_columns(
        timestamp=when, resolved_at=when.dt.offset_by("3m")
    ).write_parquet(folder / "predictions.parquet")
    # Decided at the closes of these bars, a minute after they open.
    halves = np.stack([np.asarray(pnl) + 5.0, np.full(len(pnl), -5.0)], axis=1).ravel()
    pl.DataFrame({"decided_at": when.dt.offset_by("1m"), "pnl": halves}).write_parquet(
        folder / "trades.parquet"
    )
    return folder


def _compare(*folders, n_resamples=200):
    return study.compare(list(folders), n_resamples=n_resamples)


def test_worthless_twins_are_not_surely_better(copy):
    data = _compare(copy("base"), *(rewrite(copy(f"twin{k}"), _shaken(k)) for k in range(3)))
    found = data["best_of"]
    assert found["comparable"]
    assert found["tested"] == ["B", "C", "D"]
    assert found["superior"] == []
    assert found["p_value"] > 0.05
    sentence = data["sentences"][-2]
    assert sentence.startswith(
        "No run is surely better than A (base) by log loss: luck alone would make the best of 3 "
        "other runs look at least this good with p = 0."
    )
    assert "rows that all share)." in sentence


def test_a_run_that_knows_more_is_found_among_twins(copy):
    others = [rewrite(copy("twin"), _shaken(1)), rewrite(copy("wise"), wiser), copy("same")]
    data = json.loads(json_text(_compare(copy("base"), *others)))
    found = data["best_of"]
    assert found["superior"] == ["C"]
    assert found["untested"] == ["D"]
    assert found["p_value"] < 0.01
    paired = data["tests"][1]["predictions"]["log_loss"]["value"]
    assert found["log_loss_saved"]["C"] == pytest.approx(paired)
    sentence = data["sentences"][-2]
    assert sentence.startswith(
        "Surely better than A (base) by log loss: C (wise), of 3 asked at once (StepM: "
    )
    assert sentence.endswith("; D predicted alike.")


def test_a_run_of_another_label_rule_is_left_out_and_told(copy):
    other = copy("other")
    path = other / "study.yaml"
    path.write_text(path.read_text().replace("horizon_bars: 3", "horizon_bars: 4", 1))
    rewrite(other, lambda t: t.with_columns((2 - pl.col("label")).cast(pl.Int8).alias("label")))
    wise = rewrite(copy("wise"), wiser)
    base = copy("base")
    data = _compare(base, other, wise)
    assert data["headline"] == "C has a lower log loss than A"
    found = data["best_of"]
    assert (found["tested"], found["left_out"], found["superior"]) == (["C"], ["B"], ["C"])
    assert data["sentences"][-2].endswith("; B not asked, see above.")
    alone = _compare(base, other)
    assert alone["best_of"] == {
        "tested": [],
        "left_out": ["B"],
        "comparable": False,
        "reason": "no other run can be set against it by log loss",
    }
    assert alone["sentences"][-2].startswith("Whether any run is better than A (base) cannot be")


def test_rows_that_only_some_share_leave_too_few_to_ask(copy):
    base = copy("base")
    stamps = pl.read_parquet(base / "predictions.parquet")["timestamp"].unique().sort()
    parts = [
        rewrite(copy("early"), lambda t: t.filter(pl.col("timestamp") < stamps[330])),
        rewrite(copy("late"), lambda t: t.filter(pl.col("timestamp") >= stamps[320])),
    ]
    data = _compare(base, *parts)
    assert [test["predictions"]["comparable"] for test in data["tests"]] == [True, True]
    found = data["best_of"]
    assert not found["comparable"]
    assert found["n_times"] == 10
    assert "in common, at least 40 needed" in found["reason"]
    assert found["reason"] in data["sentences"][-2]


def test_overfitting_is_that_of_the_daily_profits_on_the_days_that_all_share(copy):
    earned = np.random.default_rng(2).normal(0, 10, (3, 200))
    folders = [
        _earn(copy("one"), earned[0]),
        _earn(copy("two"), 0.01 * earned[1]),
        _earn(copy("three"), earned[2], first_day=19_030),
    ]
    data = json.loads(json_text(_compare(*folders)))
    shared = np.column_stack([earned[0][30:], earned[1][30:], earned[2][:170]])
    expected = probability_of_backtest_overfitting(shared, n_blocks=16)
    assert 0 < expected.pbo < 1
    assert data["overfitting"] == {
        "comparable": True,
        "n_common_days": 170,
        "from": "2022-02-07",
        "to": "2022-07-26",
        "pbo": pytest.approx(expected.pbo),
        "pbo_by_luck": pytest.approx(2 / 3),
        "probability_of_loss": pytest.approx(expected.probability_of_loss),
        "n_accounts": 3,
        "never_traded": [],
        "n_blocks": 16,
        "n_splits": 12870,
    }
    sentence = data["sentences"][-1]
    assert sentence.startswith(
        f"The probability of backtest overfitting (PBO) is {expected.pbo:.2f}: in "
    )
    assert "of the 12,870 ways to split the 170 days that all share into halves" in sentence
    assert "0.67 is what luck gives among equals" in sentence


@pytest.mark.parametrize("n_accounts", [2, 3, 4, 5])
def test_what_luck_gives_is_what_noise_shows_on_average(n_accounts):
    random = np.random.default_rng(n_accounts)
    noise = (random.normal(size=(96, n_accounts)) for _ in range(400))
    shown = [probability_of_backtest_overfitting(one, n_blocks=8).pbo for one in noise]
    # A single one spreads by 0.3 or less.
    assert np.mean(shown) == pytest.approx(pbo_by_luck(n_accounts), abs=0.045)


def test_an_account_that_is_truly_better_stays_the_best(copy):
    random = np.random.default_rng(3)
    folders = [_earn(copy(f"r{k}"), random.normal(4.0 * (k == 2), 10, 100)) for k in range(4)]
    found = _compare(*folders)["overfitting"]
    assert (found["n_blocks"], found["n_splits"]) == (10, 252), "ten days a block at least"
    assert found["pbo"] < 0.02
    assert found["probability_of_loss"] < 0.02


def test_the_same_account_counts_once_whatever_its_size(copy):
    one, two = np.random.default_rng(4).normal(0, 10, (2, 90))
    folders = [_earn(copy("a"), one), _earn(copy("b"), two)]
    larger = _earn(copy("c"), two)
    trades = pl.read_parquet(larger / "trades.parquet")
    trades.with_columns(pl.col("pnl") / 3).write_parquet(larger / "trades.parquet")
    found, again = (_compare(*some)["overfitting"] for some in (folders, [*folders, larger]))
    assert found["n_accounts"] == 2
    assert again == found


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda f, pnl: (f / "trades.parquet").unlink(), "trades.parquet is missing in B"),
        (lambda f, pnl: _earn(f, pnl[:79]), "79 days in common, at least 80 needed"),
        (lambda f, pnl: _earn(f, pnl, first_day=1), "0 days in common, at least 80 needed"),
        (
            lambda f, pnl: _earn(f, pnl, step_days=7),
            "their decisions lie differently many days apart",
        ),
        (lambda f, pnl: _earn(f, pnl), "all accounts are the same but for their size"),
    ],
    ids=["no-trades", "few", "none", "weekly", "same"],
)
def test_what_cannot_be_told_of_overfitting_has_its_reason(copy, change, reason):
    pnl = np.random.default_rng(5).normal(0, 10, 200)
    base, other = _earn(copy("base"), pnl), copy("other")
    change(other, pnl)
    data = _compare(base, other)
    found = data["overfitting"]
    assert not found["comparable"]
    assert "pbo" not in found
    assert found["reason"] == reason
    told = data["sentences"][-1]
    assert told == f"The probability of backtest overfitting (PBO) cannot be told: {reason}."


def test_runs_that_never_trade_have_no_best_account(copy):
    folders = [_earn(copy(name), np.zeros(100)) for name in ("a", "b")]
    for folder in folders:
        pl.read_parquet(folder / "trades.parquet")[:0].write_parquet(folder / "trades.parquet")
    assert _compare(*folders)["overfitting"]["reason"] == (
        "none of them traded on these days, at least 2 needed"
    )


def test_an_account_without_trades_is_not_the_best_of_losing_ones(copy):
    random = np.random.default_rng(6)
    folders = [_earn(copy(name), random.normal(-5, 3, 200)) for name in ("a", "b")]
    idle = _earn(copy("c"), np.zeros(200))
    pl.read_parquet(idle / "trades.parquet")[:0].write_parquet(idle / "trades.parquet")
    data = _compare(*folders, idle)
    found = data["overfitting"]
    assert (found["never_traded"], found["n_accounts"]) == (["C"], 2)
    assert found["probability_of_loss"] == 1.0
    told = data["sentences"][-1]
    assert "It lost money there in 100 of 100; C never traded and takes no part." in told
