"""Measures of price forecasts: by hand, against slow loops, and against markets that are known."""

import math

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evaluation.forecast_tables import LEVELS, baseline_of, forecast_table, quantile_name, walk
from walkforge.base import EvaluationError, PredictionsError
from walkforge.evaluation import ensemble_forecast, forecast_metrics, series_names
from walkforge.evaluation._forecast_sums import UNITS

BPS = 1e4
QUANTILES = [quantile_name(level) for level in LEVELS]


def pooled(table, **asked):
    return forecast_metrics(table, None, n_resamples=0, **asked)["model"]["pooled"]


def values(block):
    return {name: block[name]["value"] for name in UNITS}


def test_three_closes_by_hand():
    table = forecast_table([110.0, 90.0, 100.0], [121.0, 99.0, 100.0])
    block = pooled(table)
    miss = BPS * math.log(1.1)
    assert block["mae_bps"]["value"] == pytest.approx(2 * miss / 3)
    assert block["rmse_bps"]["value"] == pytest.approx(math.sqrt(2 * miss**2 / 3))
    assert block["crps_bps"]["value"] == pytest.approx(2 * miss / 3)  # a point: its error
    # Up and said up; down and said down; the third did not move and does not count.
    assert block["direction_accuracy"]["value"] == 1.0
    assert block["direction_accuracy"]["n"] == 2
    assert block["n"] == block["mae_bps"]["n"] == 3


def test_a_forecast_of_exactly_no_move_counts_half_whichever_way_it_went():
    table = forecast_table([110.0, 90.0, 120.0, 80.0], [100.0, 100.0 * (1 + 1e-12), 90.0, 90.0])
    assert pooled(table)["direction_accuracy"]["value"] == (0.5 + 0.5 + 0 + 1) / 4


def test_bars_bands_and_volatility_by_hand():
    table = forecast_table(
        [100.0],
        [102.0],
        open=99.0, high=105.0, low=95.0,
        f_open=101.0, f_high=110.0, f_low=90.0,
        band_low=90.0, band_mid=100.0, band_high=110.0,
        f_band_low=90.0, f_band_mid=101.0, f_band_high=108.0,
        volatility=0.02, f_volatility=0.01,
    )  # fmt: skip
    block = pooled(table)
    log = math.log
    closes = [log(101 / 99), log(110 / 105), log(95 / 90), log(102 / 100)]
    assert block["ohlc_mae_bps"]["value"] == pytest.approx(BPS * sum(closes) / 4)
    assert block["range_mae_bps"]["value"] == pytest.approx(BPS * (log(110 / 90) - log(105 / 95)))
    assert block["band_mae_bps"]["value"] == pytest.approx(
        BPS * (0 + log(101 / 100) + log(110 / 108)) / 3
    )
    assert block["volatility_mae_log"]["value"] == pytest.approx(log(2))
    # Realised variance over forecast variance is 4.
    assert block["qlike"]["value"] == pytest.approx(4 - log(4) - 1)


def slow_crps(quantiles, close, levels):
    """Return the integral of the pinball loss, quantile by quantile, as the text says it."""

    def pinball(level, quantile):
        over = math.log(close / quantile)
        return level * over if over >= 0 else (level - 1) * over

    points = [pinball(level, q) for level, q in zip(levels, quantiles, strict=True)]
    between = sum(
        (levels[k + 1] - levels[k]) * (points[k] + points[k + 1]) / 2
        for k in range(len(levels) - 1)
    )
    # Beyond the outermost levels the loss is linear in the level: the quantile stays.
    low, high = levels[0], levels[-1]
    below = low * (pinball(0.0, quantiles[0]) + pinball(low, quantiles[0])) / 2
    above = (1 - high) * (pinball(high, quantiles[-1]) + pinball(1.0, quantiles[-1])) / 2
    return 2 * BPS * (below + between + above)


@pytest.mark.parametrize("close", [80.0, 95.0, 100.5, 104.0, 130.0])
def test_quantile_scores_are_those_of_a_slow_loop_inside_and_beyond_them(close):
    quantiles, levels = (94.0, 99.0, 101.0, 108.0), (0.1, 0.3, 0.5, 0.9)
    table = forecast_table(
        [close], [100.0], **dict(zip(("q_10", "q_30", "q_50", "q_90"), quantiles, strict=True))
    )
    block = pooled(table)
    assert block["crps_bps"]["value"] == pytest.approx(slow_crps(quantiles, close, levels))
    losses = [
        max(a * math.log(close / q), (a - 1) * math.log(close / q))
        for a, q in zip(levels, quantiles, strict=True)
    ]
    assert block["pinball_bps"]["value"] == pytest.approx(BPS * np.mean(losses))
    assert block["coverage_80"]["value"] == float(94 <= close <= 108)
    assert block["coverage_90"]["value"] is None
    assert "q_05" in block["coverage_90"]["reason"]


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.floats(50, 150), st.floats(50, 150)), min_size=1, max_size=12))
def test_equal_quantiles_score_exactly_what_their_point_does(rows):
    close, said = (np.array(column) for column in zip(*rows, strict=True))
    point = forecast_table(close, said)
    spread = point.with_columns(pl.col("f_close").alias(name) for name in QUANTILES)
    expected = pooled(point)["crps_bps"]["value"]
    assert pooled(spread)["crps_bps"]["value"] == pytest.approx(expected, abs=1e-9)


def test_a_perfect_forecast_has_no_error_and_covers_everything():
    table = walk(60)
    perfect = table.with_columns(
        *(pl.col(name).alias(f"f_{name}") for name in ("open", "high", "low", "close")),
        *(pl.col("close").alias(name) for name in QUANTILES),
        *(pl.col(f"band_{line}").alias(f"f_band_{line}") for line in ("low", "mid", "high")),
        f_volatility=pl.col("volatility"),
    )
    right = {"direction_accuracy", "coverage_90", "coverage_80"}
    for name, value in values(pooled(perfect)).items():
        assert value == pytest.approx(1.0 if name in right else 0.0, abs=1e-12), name


def test_calibrated_quantiles_cover_what_they_say_and_score_the_closed_form():
    sigma, horizon = 0.01, 4
    table = walk(20_000, horizon=horizon, symbols=("AAA",), sigma=sigma)
    found = forecast_metrics(table, None, n_resamples=200)["model"]
    for share, name in ((0.9, "coverage_90"), (0.8, "coverage_80")):
        entry = found["pooled"][name]
        assert entry["low"] <= share <= entry["high"]
        assert entry["value"] == pytest.approx(share, abs=0.01)
    for step in range(1, horizon + 1):
        # Eleven levels come out 0.6 % below the CRPS of a normal, sigma / sqrt(pi).
        crps = found["by_step"][str(step)]["crps_bps"]["value"]
        closed = BPS * sigma * math.sqrt(step / math.pi)
        assert crps == pytest.approx(0.994 * closed, rel=0.02)
    for level in LEVELS:
        entry = found["quantiles"][quantile_name(level)]
        assert entry["level"] == pytest.approx(level)
        assert entry["value"] == pytest.approx(level, abs=0.012)


def test_ninety_nine_levels_reach_the_closed_form_to_a_thousandth():
    from scipy.stats import norm

    chance = (np.arange(20_000) + 0.5) / 20_000
    columns = {f"q_{k:02d}": 100 * np.exp(0.01 * norm.ppf(k / 100)) for k in range(1, 100)}
    table = forecast_table(100 * np.exp(0.01 * norm.ppf(chance)), 100.0, **columns)
    closed = BPS * 0.01 / math.sqrt(math.pi)
    assert pooled(table)["crps_bps"]["value"] == pytest.approx(closed, rel=1e-3)


def slow_measures(rows):
    """Return some measures of rows one by one, in plain Python."""
    error = [BPS * abs(math.log(r["f_close"] / r["close"])) for r in rows]
    crps = [slow_crps([r[name] for name in QUANTILES], r["close"], LEVELS) for r in rows]
    moved = [r for r in rows if r["close"] != r["last_close"]]
    hits = [
        0.5
        if r["f_close"] == r["last_close"]
        else float((r["f_close"] > r["last_close"]) == (r["close"] > r["last_close"]))
        for r in moved
    ]
    return {
        "mae_bps": np.mean(error),
        "rmse_bps": math.sqrt(np.mean(np.square(error))),
        "crps_bps": np.mean(crps),
        "coverage_90": np.mean([r["q_05"] <= r["close"] <= r["q_95"] for r in rows]),
        "direction_accuracy": np.mean(hits),
    }


def test_every_part_is_measured_as_a_slow_loop_over_its_rows_would():
    table = walk(40, horizon=3, n_seeds=2, n_folds=3)
    found = forecast_metrics(table, None, n_resamples=0)["model"]
    ways = {"by_symbol": "symbol", "by_step": "step", "by_fold": "fold"}
    for way, column in ways.items():
        keys = table[column].unique().sort().to_list()
        assert list(found[way]) == [str(key) for key in keys]
        for key in keys:
            rows = table.filter(pl.col(column) == key).to_dicts()
            for name, value in slow_measures(rows).items():
                assert found[way][str(key)][name]["value"] == pytest.approx(value), (way, name)
            assert found[way][str(key)]["n"] == len(rows)
    for name, value in slow_measures(table.to_dicts()).items():
        assert found["pooled"][name]["value"] == pytest.approx(value), name


def test_the_rows_of_another_symbol_move_no_measure_of_this_one():
    table = walk(80, n_seeds=2)
    poison = table.with_columns(
        pl.when(pl.col("symbol") == "BBB").then(pl.col(c) * 3).otherwise(pl.col(c)).alias(c)
        for c in table.columns
        if c.startswith(("f_", "q_"))
    )
    clean, poisoned = (
        forecast_metrics(t, None, n_resamples=0)["model"]["by_symbol"] for t in (table, poison)
    )
    # Blocks of time are as long as the memory of all errors: only the order of sums may differ.
    assert values(poisoned["AAA"]) == pytest.approx(values(clean["AAA"]), rel=1e-12)
    assert poisoned["AAA"]["n"] == clean["AAA"]["n"]
    assert poisoned["BBB"]["mae_bps"]["value"] > 10 * clean["BBB"]["mae_bps"]["value"]


@settings(max_examples=5, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_the_order_of_rows_and_columns_changes_nothing_at_all(seed):
    table = walk(60, n_seeds=2)
    base = pl.concat([baseline_of(table, "walk"), baseline_of(table, "noisy", noise=0.01)])
    shuffled, other = (t.sample(fraction=1.0, shuffle=True, seed=seed) for t in (table, base))
    whole = forecast_metrics(table, base, n_resamples=50)
    again = forecast_metrics(shuffled.select(sorted(table.columns)), other, n_resamples=50)
    for part in ("model", "better_than", "bootstrap"):
        assert again[part] == whole[part]
    assert {k: again["baselines"][k] for k in ("walk", "noisy")} == whole["baselines"]


def test_the_same_seed_draws_the_same_interval_and_another_one_another():
    table = walk(100)
    one, same, other = (forecast_metrics(table, None, n_resamples=100, seed=s) for s in (3, 3, 4))
    assert one == same
    assert one["model"]["pooled"]["mae_bps"]["low"] != other["model"]["pooled"]["mae_bps"]["low"]


def test_ten_copies_of_a_network_make_no_interval_narrower():
    table = walk(150)
    copies = pl.concat([table.with_columns(seed=pl.lit(k, dtype=pl.Int32)) for k in range(10)])
    one, ten = (
        forecast_metrics(t, None, n_resamples=200)["model"]["pooled"] for t in (table, copies)
    )
    for name in UNITS:
        for end in ("value", "low", "high"):
            assert ten[name][end] == pytest.approx(one[name][end], rel=1e-9), (name, end)


def test_intervals_hold_the_truth_about_as_often_as_they_say_where_horizons_overlap():
    # The absolute error of a walk h steps ahead has the mean sigma * sqrt(2 h / pi).
    sigma, horizon, n_worlds = 0.01, 6, 100
    steps = np.arange(1, horizon + 1)
    truth = {
        "mae_bps": BPS * sigma * np.sqrt(2 * steps / np.pi).mean(),
        "rmse_bps": BPS * sigma * math.sqrt(steps.mean()),
        "coverage_90": 0.9,
        "coverage_80": 0.8,
    }
    held, naive = dict.fromkeys(truth, 0), 0
    for world in range(n_worlds):
        table = walk(300, horizon=horizon, sigma=sigma, seed=world)
        block = forecast_metrics(table, None, n_resamples=200)["model"]["pooled"]
        for name, value in truth.items():
            held[name] += block[name]["low"] <= value <= block[name]["high"]
        half = 1.96 * math.sqrt(0.8 * 0.2 / len(table))
        naive += abs(block["coverage_80"]["value"] - 0.8) <= half
    for name in truth:
        assert 0.87 <= held[name] / n_worlds <= 1.0, (name, held)
    assert naive / n_worlds < 0.75  # what counting rows as independent would have given


def test_a_block_of_time_holds_whole_horizons():
    plan = forecast_metrics(walk(400, horizon=12), None, n_resamples=0)["bootstrap"]
    assert plan["label_span_times"] == 11.0
    assert plan["block_times"] >= 22.0


def test_what_a_table_lacks_is_null_with_the_reason_and_never_zero():
    table = walk(50)
    bare = table.drop(c for c in table.columns if c.startswith(("q_", "band", "f_band", "vol")))
    bare = bare.drop("f_open", "f_high", "f_low", "f_volatility")
    nulled = baseline_of(table, "walk").drop("baseline")
    for lacking in (bare, nulled):
        block = pooled(lacking)
        for name in UNITS:
            if name in ("mae_bps", "rmse_bps", "crps_bps", "direction_accuracy"):
                assert block[name]["value"] is not None
            else:
                assert (block[name]["value"], block[name]["n"]) == (None, 0)
                assert block[name]["reason"].startswith("no ")
    assert pooled(bare)["crps_bps"]["value"] == pytest.approx(pooled(bare)["mae_bps"]["value"])


def test_a_row_without_an_optional_number_is_left_out_and_the_rest_counted():
    table = walk(50, symbols=("AAA",))
    first = pl.int_range(pl.len()) < 20
    gaps = table.with_columns(
        pl.when(first).then(None).otherwise(pl.col(c)).alias(c)
        for c in ("f_high", "f_band_mid", *QUANTILES)
    )
    whole, holed = pooled(table[20:]), pooled(gaps)
    for name in ("ohlc_mae_bps", "range_mae_bps", "band_mae_bps", "pinball_bps", "coverage_90"):
        assert holed[name]["n"] == len(table) - 20
        assert holed[name]["value"] == pytest.approx(whole[name]["value"]), name
    mixed = 20 * pooled(gaps[:20])["mae_bps"]["value"] + 180 * whole["crps_bps"]["value"]
    assert holed["crps_bps"]["value"] == pytest.approx(mixed / 200)


def test_bars_in_which_nothing_moved_have_no_volatility_to_forecast():
    table = forecast_table(
        [100.0, 101.0], [100.0, 100.0], volatility=[0.0, 0.01], f_volatility=0.01
    )
    block = pooled(table)
    assert (block["qlike"]["value"], block["qlike"]["n"]) == (0.0, 1)
    assert pooled(table[:1])["qlike"]["reason"].startswith("no volatility above 0")


def spoiled(column, value, *, row=7):
    here = pl.int_range(pl.len()) == row
    table = walk(30, horizon=3, symbols=("AAA",))
    return table.with_columns(
        pl.when(here)
        .then(value if isinstance(value, pl.Expr) else pl.lit(value))
        .otherwise(pl.col(column))
        .alias(column)
    )


PLACE = r"AAA at 2024-01-01 02:00, step 2 \(fold 0, seed 0\)"


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("f_high", pl.col("f_close") * 0.999, f"f_high is .* for {PLACE}, expected at least"),
        ("f_high", pl.col("f_open") * 0.999, "f_high is .*expected at least its open and close"),
        ("f_low", pl.col("f_close") * 1.001, f"f_low is .* for {PLACE}, expected at most"),
        ("f_close", 0.0, f"f_close is 0 for {PLACE}, expected a number above 0"),
        ("close", -3.0, "close is -3 for"),
        ("q_40", pl.col("q_30") * 0.99, f"q_40 is .* for {PLACE}.*at least the quantile before"),
        ("q_40", None, "only some of the quantiles for"),
        ("q_20", math.nan, "q_20 is nan for"),
        ("f_close", math.nan, "f_close is nan for"),
        ("f_close", None, "f_close is nan for"),
        ("f_band_mid", math.inf, "f_band_mid is inf for"),
        ("volatility", -0.1, "volatility is -0.1 for"),
        ("f_volatility", 0.0, "f_volatility is 0 for"),
        ("symbol", None, "1 rows have no symbol"),
        ("step", None, "1 rows have no step"),
    ],
)
def test_impossible_rows_are_refused_with_their_place(column, value, message):
    with pytest.raises(PredictionsError, match=f"forecasts: .*{message}|forecasts: {message}"):
        pooled(spoiled(column, value))


def test_one_rounding_is_no_impossible_bar():
    off = 1 - 1e-10
    for column, value in (
        ("f_high", pl.max_horizontal("f_open", "f_close") * off),
        ("f_low", pl.min_horizontal("f_open", "f_close") / off),
        ("q_40", pl.col("q_30") * off),
    ):
        assert pooled(spoiled(column, value))["n"] == 90


def test_missing_columns_duplicates_and_other_types_are_refused():
    table = walk(20)
    with pytest.raises(PredictionsError, match="forecasts: no column 'f_close'"):
        pooled(table.drop("f_close"))
    with pytest.raises(PredictionsError, match=r"a duplicate for AAA at .* \(2 such rows\)"):
        pooled(pl.concat([table, table[[3, 5]]]))
    with pytest.raises(PredictionsError, match="column 'q_975', expected q_01 to q_99"):
        pooled(table.with_columns(q_975=pl.col("q_95")))
    with pytest.raises(PredictionsError, match="step holds Float64, expected whole numbers"):
        pooled(table.with_columns(pl.col("step").cast(pl.Float64)))
    with pytest.raises(EvaluationError, match="no rows"):
        pooled(table.head(0))
    with pytest.raises(PredictionsError, match="no column 'baseline'"):
        forecast_metrics(table, table)


def test_seeds_that_saw_other_prices_are_refused():
    table = walk(20, n_seeds=2)
    here = (pl.col("seed") == 1) & (pl.col("step") == 2)
    moved = table.with_columns(close=pl.when(here).then(pl.col("close") * 1.1).otherwise("close"))
    with pytest.raises(PredictionsError, match=r"close is .*expected that of the first seed"):
        pooled(moved)


def test_a_baseline_of_other_rows_prices_or_levels_is_refused():
    table = walk(30)
    base = baseline_of(table, "walk", point=False)
    with pytest.raises(
        PredictionsError,
        match=r"baseline 'walk': 238 forecasts where forecasts hold 240 .*2 are missing, 0 are "
        r"only there, the first is AAA at 2024-01-01 00:00, step 3",
    ):
        forecast_metrics(table, base.filter(~pl.int_range(pl.len()).is_in([2, 40])))
    later = base.with_columns(pl.col("timestamp").dt.offset_by("1h"))
    with pytest.raises(PredictionsError, match="16 are missing, 16 are only there"):
        forecast_metrics(table, later)
    strange = base.with_columns(symbol=pl.col("symbol").replace("BBB", "CCC"))
    with pytest.raises(PredictionsError, match=r"120 are missing, 120 are only there.*BBB"):
        forecast_metrics(table, strange)
    with pytest.raises(PredictionsError, match="240 rows have another last_close or close"):
        forecast_metrics(table, base.with_columns(pl.col("last_close") * 1.001))
    with pytest.raises(PredictionsError, match=r"quantiles q_05, .* where the model has"):
        forecast_metrics(table, base.drop("q_30"))
    with pytest.raises(PredictionsError, match="baseline 'walk': a duplicate"):
        forecast_metrics(table, pl.concat([base, base]))


def test_baselines_are_measured_like_the_model_and_wherever_their_rows_stand():
    table = walk(60)
    bases = [baseline_of(table, name, noise=s) for name, s in (("still", 0.0), ("wild", 0.02))]
    found = forecast_metrics(table, pl.concat(bases), n_resamples=50)
    mixed = forecast_metrics(table, pl.concat(bases).sort("timestamp"), n_resamples=50)
    assert list(found["baselines"]) == ["still", "wild"]
    assert mixed == found
    alone = forecast_metrics(bases[1].drop("baseline"), None, n_resamples=50)["model"]
    for name, value in values(alone["pooled"]).items():
        assert found["baselines"]["wild"]["pooled"][name]["value"] == value
    assert found["better_than"]["wild"]["absolute_error"]["p_value"] < 0.001
    assert not found["better_than"]["wild"]["crps"]["baseline_has_quantiles"]
    assert forecast_metrics(table, table.head(0))["better_than"] == {}


def test_a_gain_is_the_mean_over_times_after_the_mean_over_seeds():
    table = walk(100, n_seeds=3)
    lopsided = table.filter((pl.col("seed") < 1) | (pl.col("symbol") == "AAA"))
    base = baseline_of(table, "wild", noise=0.01)
    entry = forecast_metrics(lopsided, base, n_resamples=0)["better_than"]["wild"]
    key = ["timestamp", "symbol", "step"]
    error = (pl.col("f_close") / pl.col("close")).log().abs() * BPS
    paid = [
        t.group_by(key).agg(error.mean().alias("error")).group_by("timestamp").agg(
            pl.col("error").mean()
        )
        for t in (lopsided, base)
    ]  # fmt: skip
    both = paid[0].join(paid[1], on="timestamp")
    saved = (both["error_right"] - both["error"]).mean()
    assert entry["absolute_error"]["mean_difference"] == pytest.approx(saved)
    assert entry["absolute_error"]["n"] == 100
    assert [entry[kind]["unit"] for kind in entry] == ["bps", "bps²", "bps"]


def test_a_baseline_that_says_what_the_model_says_is_no_better_and_no_worse():
    table = walk(100)
    same = table.with_columns(baseline=pl.lit("same"))
    for entry in forecast_metrics(table, same, n_resamples=0)["better_than"]["same"].values():
        assert (entry["mean_difference"], entry["p_value"]) == (0.0, 1.0)
        assert entry["reason"] == "no loss differs from the baseline's"


def test_models_that_are_equally_good_are_told_apart_in_few_worlds_only():
    n_worlds, better, worse = 200, 0, 0
    for world in range(n_worlds):
        table = walk(150, horizon=6, seed=world)
        model, base = (
            baseline_of(table, "rival", noise=0.004, seed=[world, side], point=False)
            for side in (0, 1)
        )
        found = forecast_metrics(model.drop("baseline"), base, n_resamples=0)
        entry = found["better_than"]["rival"]["crps"]
        assert entry["lag_times"] >= 5
        better += entry["p_value"] < 0.05
        worse += entry["p_value"] > 0.95
    # 5 in 100 are meant; 20 of 200 would come out by chance once in 300 times.
    assert 2 <= better <= 19
    assert 2 <= worse <= 19


def test_p_values_are_adjusted_for_the_number_of_baselines():
    table = walk(100)
    bases = [baseline_of(table, f"b{k}", noise=0.004, seed=k, point=False) for k in range(3)]
    found = forecast_metrics(table, pl.concat(bases), n_resamples=0)["better_than"]
    raw = sorted(entry["crps"]["p_value"] for entry in found.values())
    adjusted = sorted(entry["crps"]["p_holm"] for entry in found.values())
    assert adjusted[0] == pytest.approx(min(1.0, 3 * raw[0]))


def test_series_are_named_by_symbol_unless_a_table_has_several_timeframes():
    table = pl.DataFrame({"symbol": ["A", "B", "A"], "timeframe": ["1h", "1h", "1h"]})
    assert series_names(table).to_list() == ["A", "B", "A"]
    several = table.with_columns(timeframe=pl.Series(["1h", "1h", "4h"]))
    assert series_names(several).to_list() == ["A/1h", "B/1h", "A/4h"]
    assert series_names(table.drop("timeframe")).to_list() == ["A", "B", "A"]
    assert series_names(several).name == series_names(table).name == "series"
    assert series_names(table.cast(pl.Categorical)).dtype == pl.String


def test_timeframes_of_a_symbol_are_series_of_their_own():
    hourly = walk(60)
    four = hourly.with_columns(timeframe=pl.lit("4h"), f_close=pl.col("f_close") * 1.002)
    found = forecast_metrics(pl.concat([hourly, four]), None, n_resamples=0)
    assert list(found["model"]["by_symbol"]) == ["AAA/1h", "AAA/4h", "BBB/1h", "BBB/4h"]
    alone = forecast_metrics(hourly, None, n_resamples=0)
    assert values(found["model"]["by_symbol"]["BBB/1h"]) == pytest.approx(
        values(alone["model"]["by_symbol"]["BBB"]), rel=1e-12
    )
    # Four steps of four hours reach over fifteen more hourly decisions.
    assert found["bootstrap"]["label_span_times"] == 15.0


def test_the_ensemble_is_the_median_over_seeds_in_one_order():
    table = walk(20, n_seeds=3)
    merged = ensemble_forecast(table.sample(fraction=1.0, shuffle=True, seed=1))
    assert merged.columns == table.columns
    assert merged.schema == table.schema
    assert merged["seed"].unique().to_list() == [0]
    key = ["timestamp", "symbol", "fold", "step"]
    assert merged.select(key).equals(table.filter(pl.col("seed") == 0).select(key).sort(key))
    rows = table.filter((pl.col("symbol") == "BBB") & (pl.col("step") == 2))
    slow = [
        np.median(group["q_70"]) for _, group in rows.sort(key).group_by(key, maintain_order=True)
    ]
    found = merged.filter((pl.col("symbol") == "BBB") & (pl.col("step") == 2))
    assert found["q_70"].to_list() == pytest.approx(slow)
    assert found["close"].to_list() == rows.filter(pl.col("seed") == 0)["close"].to_list()


@settings(max_examples=40, deadline=None)
@given(n_seeds=st.integers(1, 6), seed=st.integers(0, 10**6))
def test_the_ensemble_of_possible_forecasts_is_possible(n_seeds, seed):
    random = np.random.default_rng(seed)
    n = 12 * n_seeds
    f_open, f_close = (100 * np.exp(random.normal(0, 0.2, n)) for _ in range(2))
    high = np.maximum(f_open, f_close) * np.exp(random.exponential(0.1, n))
    low = np.minimum(f_open, f_close) * np.exp(-random.exponential(0.1, n))
    quantiles = np.sort(100 * np.exp(random.normal(0, 0.3, (n, len(LEVELS)))), axis=1)
    table = forecast_table(
        np.full(n, 100.0),
        f_close,
        time=np.repeat(np.arange(12), n_seeds),
        seed=np.tile(np.arange(n_seeds), 12),
        f_open=f_open,
        f_high=high,
        f_low=low,
        **{name: quantiles[:, k] for k, name in enumerate(QUANTILES)},
    )
    merged = ensemble_forecast(table)
    assert len(merged) == 12
    assert (
        merged["f_high"] >= merged.select(pl.max_horizontal("f_open", "f_close")).to_series()
    ).all()
    assert (
        merged["f_low"] <= merged.select(pl.min_horizontal("f_open", "f_close")).to_series()
    ).all()
    assert (np.diff(merged.select(QUANTILES).to_numpy(), axis=1) >= 0).all()
    assert pooled(merged)["n"] == 12


def test_the_ensemble_has_no_number_where_a_seed_has_none_and_refuses_duplicates():
    table = walk(5, n_seeds=2)
    holed = table.with_columns(
        f_high=pl.when((pl.col("seed") == 1) & (pl.col("step") == 1)).then(None).otherwise("f_high")
    )
    merged = ensemble_forecast(holed)
    assert merged.filter(pl.col("f_high").is_null())["step"].unique().to_list() == [1]
    with pytest.raises(PredictionsError, match="1 duplicate rows"):
        ensemble_forecast(pl.concat([table, table[:1]]))
