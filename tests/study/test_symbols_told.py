"""The sentence on the symbols that are better than nothing."""

import pytest

from walkforge.study._symbols_told import symbols_told


def made(n: int, direction: list[str], log_loss: list[str] | None, *, n_tested: int = -1):
    def one(found: list[str]):
        by_symbol = {f"S{k}": {} for k in range(n)}
        known = n if n_tested < 0 else n_tested
        return {"by_symbol": by_symbol, "n_tested": known, "discoveries": found}

    tests = {"false_discovery_rate": 0.05, "direction_auc": one(direction)}
    if log_loss is not None:
        tests["log_loss"] = one(log_loss) | {"against": "prior"}
    return {"by_symbol_tests": tests}


@pytest.mark.parametrize(
    ("found", "told"),
    [
        (
            made(32, ["S3", "S1", "S4"], []),
            "3 of 32 symbols surely know the direction after counting all 32 (false discovery rate "
            "5 %): S3, S1, S4; none surely saves log loss on prior.",
        ),
        (
            made(32, [], ["S9"]),
            "None of 32 symbols surely knows the direction after counting all 32 (false discovery "
            "rate 5 %); 1 surely saves log loss on prior: S9.",
        ),
        (
            made(12, ["S2"], None, n_tested=10),
            "1 of 12 symbols surely knows the direction after counting the 10 that could be tested "
            "(false discovery rate 5 %): S2.",
        ),
        (
            made(3, [], [], n_tested=0),
            "Whether any of 3 symbols knows the direction could not be tested; log loss could not "
            "be tested; by_symbol_tests in metrics.json has the reasons.",
        ),
    ],
)
def test_it_says_how_many_of_how_many_and_which(found, told):
    assert symbols_told(found) == [told]


def test_many_names_are_cut_and_counted():
    (told,) = symbols_told(made(20, [f"S{k}" for k in range(11)], []))
    assert "S7 and 3 more; none surely saves log loss" in told


@pytest.mark.parametrize("found", [made(1, ["S0"], []), {}, {"model": {}}])
def test_of_one_symbol_and_of_older_folders_nothing_is_said(found):
    assert symbols_told(found) == []


def test_what_was_tested_by_one_measure_only_is_told_of_that_one():
    found = made(3, [], ["S0"], n_tested=3)
    found["by_symbol_tests"]["direction_auc"]["n_tested"] = 0
    (told,) = symbols_told(found)
    assert "could not be tested; 1 surely saves log loss on prior: S0;" in told


def test_a_symbol_in_two_timeframes_is_two_series():
    found = made(2, [], [])
    found["by_symbol_tests"]["direction_auc"]["by_symbol"] = {"A/1h": {}, "A/4h": {}}
    assert "None of 2 series surely knows" in symbols_told(found)[0]
