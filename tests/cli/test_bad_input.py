"""What bad input gets: one line that names place, found, expected and way out; nothing written."""

import os
import signal
import subprocess
import sys

import polars as pl
import pytest

from command import call
from drawn import random_bars
from study_runs import SETTINGS
from walkforge.market import BarStore

HEADER = "timestamp,open,high,low,close,volume\n"
GOOD = [f"2024-01-01T00:0{minute},10,11,9,10,5\n" for minute in range(6)]


@pytest.fixture
def here(tmp_path, monkeypatch):
    """Return an empty working folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def venue(here):
    """Return a venue's folder with two symbols of noise."""
    store = BarStore(here / "store")
    for seed, symbol in enumerate(("AAAUSDT", "BBBUSDT")):
        bars = random_bars(1500, seed, symbol=symbol)
        fields = ("symbol", "timeframe", "timestamp", "open", "high", "low", "close", "volume")
        values = {name: getattr(bars, name) for name in fields}
        store.write(type(bars)(venue="venue", calendar="24/7", **values))
    return here / "store" / "venue"


def _refused(call_result, status, *words):
    """Assert one clear line on standard error, and return it."""
    found, out, err = call_result
    assert found == status, err
    assert "Traceback" not in err
    lines = [line for line in err.splitlines() if line.startswith("walkforge: error:")]
    assert len(lines) == 1, err
    for word in words:
        assert word in lines[0], f"{word!r} is not in {lines[0]!r}"
    assert out == ""
    return lines[0]


def _files(folder):
    return sorted(path for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("A-1m.csv", None, ["A-1m.csv", "no such file"]),
        ("A-1m.csv", "", ["A-1m.csv", "empty"]),
        ("A-1m.csv", HEADER, ["A-1m.csv"]),
        ("A-1m.csv", HEADER + GOOD[0] + "2024-01-01T00:01,10,cheap,9,10,5\n", ["high", "cheap"]),
        ("A-1m.csv", HEADER + GOOD[1] + GOOD[0], ["A-1m.csv", "repair"]),
        ("A-1m.csv", HEADER + GOOD[0] + GOOD[0].replace("10,5", "10.5,5"), ["A-1m.csv"]),
        ("A-1m.csv", HEADER + GOOD[0] + "2024-01-01T00:01,10,11,9,nan,5\n", ["close"]),
        ("A-1m.csv", HEADER + GOOD[0] + "2024-01-01T00:01,-10,11,-11,10,5\n", ["-10"]),
        ("A-1m.csv", HEADER + GOOD[0] + "2024-01-01T00:01,10,9,11,10,5\n", ["A-1m.csv"]),
        (
            "A-1m.csv",
            HEADER + "1704067200,10,11,9,10,5\n1704067260000,10,11,9,10,5\n",
            ["A-1m.csv"],
        ),
        ("A-1m.csv", "when,open,high,low,close,volume\n" + GOOD[0], ["timestamp"]),
        ("A-7m.csv", HEADER + GOOD[0], ["7m", "timeframe"]),
    ],
    ids=["missing", "empty", "no-rows", "text", "unsorted", "conflicting", "nan", "negative",
         "broken-ohlc", "s-and-ms", "no-timestamp", "timeframe"],
)  # fmt: skip
def test_broken_files_of_bars(here, name, text, words):
    if text is not None:
        (here / name).write_text(text)
    before = _files(here)
    found = call("data", "import", name, "--venue", "x")
    _refused(found, found[0], *words)
    assert found[0] in (1, 2)
    assert _files(here) == before


def test_a_unit_of_time_that_cannot_be_is_refused(here):
    # Milliseconds times a thousand times a thousand: the year 55970 in ms, 1970 in nothing.
    (here / "A-1m.csv").write_text(HEADER + "17040672,10,11,9,10,5\n17040673,10,11,9,10,5\n")
    _refused(call("data", "import", "A-1m.csv", "--venue", "x"), 1, "A-1m.csv")
    assert not (here / "bars").exists()


@pytest.mark.parametrize(
    ("words", "status", "expected"),
    [
        (["run", "demoo"], 2, ["demoo", "did you mean 'demo'"]),
        (["run", "nothing.yaml"], 2, ["nothing.yaml"]),
        (["run", "demo", "--set", "trainig.epochs=3"], 2, ["trainig", "did you mean 'training'"]),
        (["run", "demo", "--set", "training.epoch=3"], 2, ["training.epoch", "'epochs'"]),
        (["run", "demo", "--set", "training.epochs=-3"], 2, ["epochs", "-3", "at least 1"]),
        (["run", "demo", "--set", "training.epochs=lots"], 2, ["training.epochs", "lots"]),
        (["run", "demo", "--set", "device.device=gpu"], 2, ["gpu", "auto, cpu, cuda"]),
        (["run", "v8"], 2, ["--bars"]),
        (["run", "v8", "--bars", "nowhere"], 1, ["nowhere", "no such folder"]),
        (["presets", "v9"], 2, ["v9", "v8"]),
        (["resume", "."], 1, ["no run here"]),
        (["judge", "."], 1, ["no run here"]),
        (["judge"], 2, ["RUN", "--predictions"]),
        (["judge", "--predictions", "p.csv"], 2, ["--bars"]),
        (["judge", "--predictions", "p.csv", "--bars", "."], 1, ["p.csv"]),
        (["backtest"], 2, ["RUN", "--intentions"]),
        (["backtest", "--intentions", "i.csv", "--bars", "."], 1, ["i.csv"]),
        (["report", "."], 1, ["."]),
        (["predict", ".", "x.parquet"], 1, ["no bundle here"]),
        (["data", "check", "nowhere.parquet"], 1, ["nowhere.parquet"]),
        (["data", "repair", "nowhere.csv", "--in-place"], 1, ["nowhere.csv"]),
        (["data", "repair", "nowhere.csv"], 2, ["--out", "--in-place"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_wrong_words(here, words, status, expected):
    _refused(call(*words), status, *expected)
    assert _files(here) == []


def _set(*settings):
    return [word for setting in settings for word in ("--set", setting)]


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        (["data.symbols=[AAUSDT]"], ["AAUSDT", "did you mean 'AAAUSDT'"]),
        (["data.timeframe=1d"], ["AAAUSDT", "no row has both features and a label"]),
        (["data.start=2030-01-01"], ["2030-01-01"]),
        (["folds.test=5000"], ["decision moments", "but there are"]),
        (["folds.kind=walk_forward", "folds.unit=months", "folds.count=6"], ["6 test windows"]),
        (["folds.embargo_bars=195"], ["fold 0", "validation rows", "expected at least 30"]),
        (["labels.kind=threshold", "labels.threshold_frac=0.9"], ["one class"]),
    ],
    ids=["symbol", "timeframe", "empty-range", "too-few", "months", "few-rows", "one-class"],
)
def test_a_study_that_does_not_fit_its_bars(venue, here, settings, expected):
    study = here / "mine.yaml"
    study.write_text("name: mine\n")
    words = ["run", "mine.yaml", "--bars", str(venue), "--out", "out"]
    found = call(*words, *_set(*SETTINGS, *settings))
    line = _refused(found, found[0], *expected)
    assert found[0] in (1, 2)
    assert "\n" not in line
    assert not (here / "out").exists()


def test_a_folder_in_use_is_refused(venue, here):
    (here / "out").mkdir()
    (here / "out" / "mine.txt").write_text("precious")
    found = call("run", "demo", "--out", "out")
    _refused(found, 1, "out", "not empty")
    assert (here / "out" / "mine.txt").read_text() == "precious"


def test_a_tampered_bundle_is_refused(small_run, here):
    import shutil

    bundle = here / "bundle"
    shutil.copytree(next((small_run / "models").glob("*_seed0")), bundle)
    whole = bytearray((bundle / "weights.safetensors").read_bytes())
    whole[-1] ^= 1
    (bundle / "weights.safetensors").write_bytes(whole)
    _refused(call("predict", "bundle", "bars.parquet"), 1, "was changed or cut off")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ["i.csv", "empty"]),
        ("timestamp,symbol\n2024-01-01T00:10,AAAUSDT\n", ["side"]),
        ("timestamp,symbol,side\n2024-01-01T00:10,AAAUSDT,sideways\n", ["sideways"]),
        ("timestamp,symbol,side\n2024-01-01T00:10:30,AAAUSDT,long\n", ["i.csv"]),
        ("timestamp,symbol,side\n2024-01-01T00:10,NOPE,long\n", ["NOPE"]),
    ],
    ids=["empty", "no-side", "side", "no-bar", "symbol"],
)
def test_broken_intentions(venue, here, text, expected):
    (here / "i.csv").write_text(text)
    found = call("backtest", "--intentions", "i.csv", "--bars", str(venue), "--out", "out")
    _refused(found, 1, *expected)
    assert not (here / "out").exists()


def test_broken_predictions(venue, here):
    bars = random_bars(1500, 0)
    stamps = pl.Series(bars.timestamp[400:1400]).cast(pl.Datetime("ms", "UTC"))
    table = pl.DataFrame({"timestamp": stamps, "symbol": "AAAUSDT", "label": 1,
                          "p_down": 0.5, "p_hold": 0.4, "p_up": 0.3})  # fmt: skip
    table.write_parquet(here / "p.parquet")
    words = ["judge", "--predictions", "p.parquet", "--bars", str(venue), "--out", "out"]
    _refused(call(*words), 1, "p.parquet", "1.2")
    table.drop("label").write_parquet(here / "p.parquet")
    _refused(call(*words), 1, "p.parquet", "label")
    assert not (here / "out").exists()


@pytest.mark.usefixtures("in_front")
def test_ctrl_c_says_how_to_go_on_and_the_run_goes_on(venue, here):
    (here / "mine.yaml").write_text("name: mine\n")
    settings = _set(*SETTINGS, "training.epochs=60", "training.patience=60")
    words = ["run", "mine.yaml", "--bars", str(venue), "--out", "out", *settings]
    running = subprocess.Popen(
        [sys.executable, "-m", "walkforge", *words],
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
    )
    assert running.stderr is not None
    for line in running.stderr:
        if "epoch " in line:
            break
    running.send_signal(signal.SIGINT)
    out, err = running.communicate(timeout=60)
    assert running.returncode == 130
    assert "walkforge resume out" in err
    assert "Traceback" not in err
    assert out == ""
    assert not list((here / "out").rglob("*.part"))
    status, out, err = call("resume", "out")
    assert (status, out.splitlines()[-1]) == (0, "out"), err
