"""Times, seeds, digests, files and devices."""

import json
import os
import signal
import subprocess
import sys

import numpy as np
import pytest

from walkforge.base import (
    Measure,
    RunError,
    UsageError,
    atomic_path,
    choose_device,
    choose_precision,
    concatenate_ranges,
    derive_seed,
    digest_of_arrays,
    digest_of_file,
    digest_of_json,
    one_of,
    parse_utc_ms,
    read_json,
    timeframe_ms,
    utc_text,
    whole_windows,
    write_json,
)


def test_times_go_to_text_and_back_in_utc():
    assert parse_utc_ms("2024-01-01") == 1_704_067_200_000
    assert utc_text(parse_utc_ms("2024-02-29T23:59")) == "2024-02-29 23:59"
    assert utc_text(parse_utc_ms("2024-02-29T23:59:07")) == "2024-02-29 23:59:07"
    assert parse_utc_ms("2024-01-01T02:00+02:00") == parse_utc_ms("2024-01-01")


def test_a_word_that_is_no_time_is_refused():
    with pytest.raises(UsageError, match="'yesterday' is not a time"):
        parse_utc_ms("yesterday")


def test_an_unknown_timeframe_is_refused_with_the_choices():
    assert timeframe_ms("5m") == 300_000
    with pytest.raises(UsageError, match=r"unknown timeframe '5min'.*1m, 3m, 5m"):
        timeframe_ms("5min")


def test_the_nearest_name_is_named():
    with pytest.raises(UsageError, match=r"did you mean 'BTCUSDT'"):
        one_of("symbol", "BTCUST", ["BTCUSDT", "ETHUSDT"])


def test_seeds_depend_on_every_name_and_on_nothing_else():
    assert derive_seed(1, "a", 2) == derive_seed(1, "a", 2)
    others = {derive_seed(2, "a", 2), derive_seed(1, "b", 2), derive_seed(1, "a", 3)}
    assert len(others | {derive_seed(1, "a", 2)}) == 4
    assert derive_seed(1, "ab", "c") != derive_seed(1, "a", "bc")
    assert all(0 <= derive_seed(s, "x") < 2**63 for s in range(50))


def test_digests_see_values_shapes_and_types(tmp_path):
    a = np.arange(6.0)
    assert digest_of_arrays(a) == digest_of_arrays(a.copy())
    assert len({digest_of_arrays(x) for x in (a, a.reshape(2, 3), a.astype("f4"), a + 1)}) == 4
    assert digest_of_json({"a": 1, "b": 2}) == digest_of_json({"b": 2, "a": 1})
    (tmp_path / "x").write_bytes(b"abc")
    assert digest_of_file(tmp_path / "x").startswith("ba7816bf8f01cfea")


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "x.json"
    write_json(path, {"old": 1})
    with pytest.raises(KeyError), atomic_path(path) as temporary:  # noqa: PT012
        temporary.write_text("half")
        raise KeyError
    assert read_json(path) == {"old": 1}
    assert [item.name for item in tmp_path.iterdir()] == ["x.json"]


def test_a_killed_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "x.json"
    write_json(path, {"old": 1})
    code = (
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "from walkforge.base import atomic_path\n"
        "with atomic_path(Path(sys.argv[1])) as temporary:\n"
        "    temporary.write_text('half')\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, os.fspath(path)], check=False)
    assert done.returncode == -signal.SIGKILL
    assert read_json(path) == {"old": 1}


def test_json_has_no_nan_and_takes_numpy(tmp_path):
    write_json(tmp_path / "x.json", {"a": np.float32(1.5), "b": float("nan"), "c": np.arange(2)})
    assert json.loads((tmp_path / "x.json").read_text()) == {"a": 1.5, "b": None, "c": [0, 1]}


def test_missing_and_damaged_json_is_one_line_with_the_path(tmp_path):
    with pytest.raises(RunError, match=r"x\.json: no such file"):
        read_json(tmp_path / "x.json")
    (tmp_path / "x.json").write_text("{")
    with pytest.raises(RunError, match=r"x\.json: not valid JSON"):
        read_json(tmp_path / "x.json")


def test_a_measure_without_interval_says_so():
    assert np.isnan(Measure(0.5, n=3).as_dict()["low"])


def test_the_cpu_is_chosen_with_a_reason_and_a_missing_gpu_refused():
    device, reason = choose_device("cpu")
    assert (device.type, reason) == ("cpu", "asked for")
    assert choose_device("auto")[1]
    assert choose_precision("auto", device)[0].name == "float32"
    with pytest.raises(UsageError, match="CUDA devices; choose auto or cpu"):
        choose_device("cuda:99")
    with pytest.raises(UsageError, match="unknown device 'gpu'"):
        choose_device("gpu")
    with pytest.raises(UsageError, match="unknown precision"):
        choose_precision("int8", device)


def test_ranges_are_laid_end_to_end():
    starts, lengths = np.array([5, 0, 9]), np.array([2, 0, 3])
    assert concatenate_ranges(starts, lengths).tolist() == [5, 6, 9, 10, 11]
    assert concatenate_ranges(starts[:0], lengths[:0]).tolist() == []


def test_a_window_is_whole_only_over_valid_rows():
    valid = np.array([0, 1, 1, 1, 0, 1, 1], dtype=bool)
    assert whole_windows(valid, 2).tolist() == [False, False, True, True, False, False, True]
    assert whole_windows(valid, 1).tolist() == valid.tolist()
    assert not whole_windows(valid, 20).any()
