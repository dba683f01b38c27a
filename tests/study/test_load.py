"""A study file is typed, and refuses nonsense with the key's path and the way out."""

import pytest

from walkforge.base import StudyError
from walkforge.study import Study, as_yaml, load, preset_names


def _write(tmp_path, text):
    path = tmp_path / "my.yaml"
    path.write_text(text)
    return path


@pytest.mark.parametrize("name", preset_names())
def test_every_preset_loads_and_comes_back_from_its_own_yaml(name, tmp_path):
    study = load(name)
    assert study.name == name
    assert study.note
    assert load(_write(tmp_path, as_yaml(study))) == study


def test_an_empty_file_is_the_study_of_all_defaults(tmp_path):
    assert load(_write(tmp_path, "")) == Study()


def test_overrides_win_and_are_typed():
    study = load("v8", ["training.epochs=3", "data.symbols=[BTCUSDT]", "seeds=[0, 1]",
                        "data.start=2024-01-01", "backtest.costs.fee_frac=0.0005"])  # fmt: skip
    assert (study.training.epochs, study.data.symbols) == (3, ("BTCUSDT",))
    assert study.seeds == (0, 1)
    assert study.data.start == "2024-01-01"
    assert study.backtest.costs.fee_frac == 0.0005
    assert study.training.batch_size == load("v8").training.batch_size


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("trainin.epochs=3", r"unknown key 'trainin' \(did you mean 'training'\?\)"),
        ("training.epoch=3", r"unknown key 'training\.epoch' \(did you mean 'epochs'\?\)"),
        ("backtest.costs.fee=0.1", r"unknown key 'backtest\.costs\.fee' \(did you mean 'fee_frac'"),
        ("training.epochs=many", r"training\.epochs is 'many'; input should be a valid integer"),
        ("training.epochs=0", r"training\.epochs is 0; it must be at least 1"),
        ("training.learning_rate=-1", r"learning_rate is -1"),
        (
            "model.name=lstm",
            r"'lstm' \(did you mean 'bilstm'\?\); choose mlp, gru, cnn_lstm, bilstm, own",
        ),
        ("labels.kind=quantil", r"unknown label kind 'quantil' \(did you mean 'quantile'\?\)"),
        ("data.timeframe=1min", r"unknown timeframe '1min'"),
        ("data.start=tomorrow", r"'tomorrow' is not a time"),
        ("folds.train_frac=0.9", r"make 1\.2"),
        ("judge.min_edge=2", r"judge\.min_edge is 2"),
        ("seeds=[1, 1]", r"expected different whole numbers"),
        ("seeds=[]", r"expected different whole numbers"),
        ("seeds=[3000000000]", r"from 0 to 2147483647"),
        ("judge.baselines=[]", r"at least one, each once"),
        ("judge.baselines=[prior, prior]", r"at least one, each once"),
        ("judge.n_trials=0", r"at least 1"),
        ("name=a/../b", r"letters, digits"),
        ("data=5", r"data must hold keys, found 5"),
        ("training", r"write it as section\.key=value"),
        ("name.x=1", r"name is a value and has no keys"),
        ("backtest.capital=-5", r"capital is -5"),
        ("features.set=v9", r"unknown feature set 'v9'"),
    ],
)
def test_nonsense_is_refused_with_its_path(override, message):
    with pytest.raises(StudyError, match=message):
        load("v8", [override])


def test_an_unknown_preset_is_refused_with_the_nearest():
    with pytest.raises(
        StudyError, match=r"no preset and no file named 'demoo' \(did you mean 'demo"
    ):
        load("demoo")


def test_a_missing_file_a_broken_file_and_a_list_are_refused(tmp_path):
    with pytest.raises(StudyError, match=r"nothing\.yaml: No such file"):
        load(tmp_path / "nothing.yaml")
    with pytest.raises(StudyError, match=r"not valid YAML in line 2"):
        load(_write(tmp_path, "a: 1\nb: [1"))
    with pytest.raises(StudyError, match=r"expected sections .* found list"):
        load(_write(tmp_path, "- 1"))


def test_a_barrier_label_must_mean_the_trade_that_the_backtest_makes():
    with pytest.raises(StudyError, match=r"labels\.bracket and backtest\.bracket differ"):
        load("v8", ["labels.kind=triple_barrier", "labels.bracket.stop_atr=3"])
