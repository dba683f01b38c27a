"""Anybody's table: taken in many forms, refused in one line."""

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from evaluation.tables import START_MS, THREE, calibrated_rows, skilled, table_of
from walkforge.base import PredictionsError
from walkforge.evaluation import classes_of, measure, read_predictions


@pytest.fixture
def table():
    return table_of(*calibrated_rows(40))


def written(tmp_path, table):
    path = tmp_path / "predictions.parquet"
    table.write_parquet(path)
    return path


def test_our_own_table_comes_back_as_it_was(tmp_path):
    table = skilled(50)
    assert_frame_equal(
        read_predictions(written(tmp_path, table)),
        table.sort("timestamp", "symbol", "fold", "seed"),
    )


def test_rows_in_any_order_come_back_sorted(tmp_path, table):
    again = read_predictions(written(tmp_path, table.sample(fraction=1.0, shuffle=True, seed=2)))
    assert_frame_equal(again, table)


def test_a_csv_with_names_for_labels_and_text_for_times_is_the_same_table(tmp_path, table):
    path = tmp_path / "p.csv"
    stamp = pl.col("timestamp").dt.strftime("%Y-%m-%dT%H:%M:%S")
    names = pl.col("label").replace_strict(dict(enumerate(THREE)), return_dtype=pl.String)
    table.select(stamp, "symbol", names, "p_up", "p_down", "p_hold").write_csv(path)
    again = read_predictions(path)
    assert classes_of(again) == THREE
    assert again["timestamp"].to_list() == table["timestamp"].to_list()
    assert again["label"].to_list() == table["label"].to_list()
    assert again["seed"].unique().to_list() == [0]
    assert measure(again, classes=THREE, n_resamples=0)["log_loss"]["value"] == pytest.approx(
        measure(table, classes=THREE, n_resamples=0)["log_loss"]["value"]
    )


@pytest.mark.parametrize(
    "dtype",
    [pl.Datetime("us"), pl.Datetime("ns", "UTC"), pl.Datetime("ms", "America/New_York"), pl.Int64],
)
def test_times_are_taken_in_every_usual_type(tmp_path, table, dtype):
    stamp = table["timestamp"]
    if getattr(dtype, "time_zone", None) == "America/New_York":
        other = stamp.dt.convert_time_zone("America/New_York")
    elif dtype == pl.Datetime("us"):
        other = stamp.dt.replace_time_zone(None).cast(dtype)
    else:
        other = stamp.cast(dtype)
    again = read_predictions(written(tmp_path, table.with_columns(other)))
    assert again["timestamp"].dtype == pl.Datetime("ms", "UTC")
    assert int(again["timestamp"].dt.epoch("ms")[0]) == START_MS


def test_numbers_of_labels_may_be_written_as_floats(tmp_path, table):
    floats = table.with_columns(pl.col("label").cast(pl.Float64))
    assert read_predictions(written(tmp_path, floats))["label"].dtype == pl.Int8


def test_rounded_probabilities_are_taken_as_they_are(tmp_path, table):
    rounded = table.with_columns(pl.col("p_down", "p_hold", "p_up").round(4))
    assert read_predictions(written(tmp_path, rounded))["p_up"][0] == rounded["p_up"][0]


SPOILED = {
    "no column 'symbol'": lambda t: t.drop("symbol"),
    "no column 'label'": lambda t: t.rename({"label": "lable"}),
    "did you mean 'lable'": lambda t: t.rename({"label": "lable"}),
    "found none, expected p_down": lambda t: t.drop("p_down", "p_hold", "p_up"),
    "found p_down, p_hold, p_long, expected": lambda t: t.rename({"p_up": "p_long"}),
    "row 3 has p_up nan, expected a number from 0 to 1 .1 such": lambda t: _set(
        t, "p_up", 3, float("nan")
    ),
    "row 3 has p_up None, expected a number": lambda t: _set(t, "p_up", 3, None),
    "sum to .*, expected numbers from 0 to 1": lambda t: _set(t, "p_up", 3, 0.99),
    "are these logits": lambda t: t.with_columns(pl.col("p_down", "p_hold", "p_up").log()),
    "column 'p_up' holds String": lambda t: t.with_columns(pl.col("p_up").cast(pl.String)),
    "1 duplicate rows, the first for AAA at 2024-01-01 00:10": lambda t: pl.concat([t, t[2:3]]),
    r"row 3 has label '7', expected 0 \(down\), 1 \(hold\), 2 \(up\)": lambda t: _set(
        t, "label", 3, 7
    ),
    "row 3 has no label": lambda t: _set(t, "label", 3, None),
    "row 3 has no symbol": lambda t: _set(t, "symbol", 3, None),
    "row 3 has no timestamp": lambda t: _set(t, "timestamp", 3, None),
    "column 'fold' holds Float64, expected whole numbers": lambda t: t.with_columns(
        pl.col("fold") + 0.5
    ),
    "these look like seconds": lambda t: t.with_columns(pl.col("timestamp").dt.epoch("s")),
    "these look like microseconds": lambda t: t.with_columns(pl.col("timestamp").dt.epoch("us")),
    "these look like nanoseconds": lambda t: t.with_columns(pl.col("timestamp").dt.epoch("ns")),
    "column 'timestamp' holds String, expected date-times": lambda t: t.with_columns(
        timestamp=pl.lit("yesterday")
    ),
}


def _set(table, column, row, value):
    at = pl.int_range(pl.len()) == row
    return table.with_columns(
        pl.when(at).then(pl.lit(value)).otherwise(pl.col(column)).alias(column)
    )


@pytest.mark.parametrize("message", SPOILED)
def test_a_spoiled_table_is_refused_in_one_line_that_names_the_file(tmp_path, table, message):
    path = written(tmp_path, SPOILED[message](table))
    with pytest.raises(PredictionsError, match=message) as caught:
        read_predictions(path)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def test_files_that_are_none_are_refused(tmp_path):
    with pytest.raises(PredictionsError, match="no such file"):
        read_predictions(tmp_path / "none.parquet")
    empty = tmp_path / "empty.csv"
    empty.touch()
    with pytest.raises(PredictionsError, match="the file is empty"):
        read_predictions(empty)
    noise = tmp_path / "noise.parquet"
    noise.write_bytes(np.random.default_rng(0).bytes(200))
    with pytest.raises(PredictionsError, match="cannot be read"):
        read_predictions(noise)
