"""Columns that drift are seen, columns that only hang together are not."""

import numpy as np
import pytest
from scipy import stats
from scipy.signal import lfilter

from walkforge.evaluation import LITTLE_PSI, column_drift, column_reference, fewest_rows


def _hanging(n, memory, random):
    """Return a first-order autoregression (n,) of variance 1."""
    burn = 2000
    drawn = lfilter([1.0], [1.0, -memory], random.normal(size=n + burn))[burn:]
    return drawn * np.sqrt(1.0 - memory**2)


def _slow_index(expected, found):
    """Return the index of a table of counts as Siddiqi writes it, half a row in every bin."""
    total = 0.0
    for e, f in zip(expected, found, strict=True):
        e = (e + 0.5) / (sum(expected) + len(expected) / 2)
        f = (f + 0.5) / (sum(found) + len(found) / 2)
        total += (f - e) * np.log(f / e)
    return total


def test_index_and_distance_are_those_of_a_slow_loop_and_of_scipy():
    random = np.random.default_rng(1)
    before, later = random.normal(size=4000), random.normal(0.4, 1.2, 700)
    reference = column_reference(before)
    edges = reference["edges"]
    found = column_drift(reference, later)

    def counted(values):
        return [
            int(((values >= low) & (values < high)).sum())
            for low, high in zip([-np.inf, *edges], [*edges, np.inf], strict=True)
        ]

    assert reference["counts"] == counted(before)
    assert len(edges) == 19
    assert found["psi"] == pytest.approx(_slow_index(reference["counts"], counted(later)))
    # At the bins' edges the distance of the distribution functions is the whole one, almost.
    whole = stats.ks_2samp(before, later).statistic
    assert whole - 0.05 <= found["ks"] <= whole


def test_an_index_of_ten_bands_is_what_paper_and_pencil_give():
    """Four bands of 0.1 against 0.09 or 0.11, four against 0.095 or 0.105, two against 0.1."""
    expected = np.array([1000] * 10)
    found = np.array([900, 950, 1000, 1050, 1100, 1100, 1050, 1000, 950, 900]) * 2
    by_hand = sum((q - 0.1) * np.log(q / 0.1) for q in found / found.sum())
    before, later = (np.repeat(np.arange(10.0), counts) for counts in (expected, found))
    random = np.random.default_rng(0)
    reference = column_reference(random.permutation(before), np.arange(1, 10) - 0.5)
    assert column_drift(reference, later)["psi"] == pytest.approx(by_hand, rel=2e-2)
    # 2 (0.01 ln(0.11 / 0.09)) + 2 (0.005 ln(0.105 / 0.095))
    assert by_hand == pytest.approx(0.0040134 + 0.0010008, abs=1e-6)


def test_independent_rows_have_the_index_that_yurdakul_expects():
    random = np.random.default_rng(2)
    n, m = 5000, 800
    found = [
        column_drift(column_reference(random.normal(size=n)), random.normal(size=m))
        for _ in range(60)
    ]
    expected = 19 * (1 / n + 1 / m)  # chi-square with B - 1 degrees: Yurdakul 2018
    mean = np.mean([one["psi"] for one in found])
    assert mean == pytest.approx(expected, rel=0.08)
    assert all(one["psi_expected"] >= expected for one in found)


@pytest.mark.parametrize("memory", [0.0, 0.9, 0.97])
def test_rows_that_hang_together_raise_no_more_alarms_than_meant(memory):
    random = np.random.default_rng(3)
    p_values, loud = [], []
    for _ in range(150):
        rows = _hanging(4000 + 200 + 500, memory, random)
        found = column_drift(column_reference(rows[:4000]), rows[4200:])
        p_values.append(found["p_value"])
        loud.append(found["psi"] >= LITTLE_PSI)
    alarms = int((np.array(p_values) < 0.05).sum())
    # 5 of 100 are meant; 14 of 150 or fewer have a probability of 0.98 there.
    assert alarms <= 14
    if memory > 0.9:
        assert np.mean(loud) > 0.9  # the customary limit would alarm nearly always


@pytest.mark.parametrize(
    ("change", "memory"),
    [(lambda x: x + 0.5, 0.0), (lambda x: 1.5 * x, 0.0), (lambda x: x + 1.5, 0.9)],
    ids=["half a deviation higher", "half again as wide", "higher, with a memory"],
)
def test_a_drift_is_seen(change, memory):
    random = np.random.default_rng(4)
    seen = 0
    for _ in range(40):
        rows = _hanging(4000 + 200 + 800, memory, random)
        found = column_drift(column_reference(rows[:4000]), change(rows[4200:]))
        seen += found["p_value"] < 0.01 and found["psi"] >= LITTLE_PSI
    assert seen >= 34


def test_a_column_that_never_moved_is_missed_when_it_does():
    reference = column_reference(np.full(1000, 0.1, dtype=np.float32))
    assert len(reference["counts"]) == 3
    assert reference["counts"] == [0, 1000, 0]
    same = column_drift(reference, np.full(200, 0.1, dtype=np.float32))
    assert same["psi"] < 0.01  # half a row in each of two empty bins
    assert same["p_value"] == 1.0
    moved = column_drift(reference, np.full(200, 0.2, dtype=np.float32))
    assert moved["psi"] > LITTLE_PSI
    assert moved["p_value"] < 1e-6


def test_a_season_that_fits_into_a_stretch_is_no_drift_whatever_part_of_it_comes():
    hour = np.arange(24 * 365) % 24
    reference = column_reference(hour.astype(np.float32))
    later = hour[: 24 * 10 + 7].astype(np.float32)
    found = column_drift(reference, later)
    assert found["psi"] < LITTLE_PSI
    assert found["p_value"] > 0.01


def test_rows_fewer_than_the_shortest_stretch_are_too_few():
    reference = column_reference(np.random.default_rng(5).normal(size=3000))
    assert fewest_rows(reference) == 11  # 256 stretches of 11 rows
    found = column_drift(reference, np.zeros(10))
    assert found["p_value"] is None
    assert found["reason"] == "10 rows, at least 11 needed"
    short = column_reference(np.arange(30.0))
    assert fewest_rows(short) is None
    assert "longer training slice" in column_drift(short, np.zeros(500))["reason"]
    nothing = column_reference(np.zeros(0))
    assert column_drift(nothing, np.zeros(5))["p_value"] is None
