"""What a run holds in memory: the table no longer than needed, and no second one beside it."""

import gc

import numpy as np
import pytest

from study_runs import small_bars, small_study
from walkforge import features, study
from walkforge.base import Silent
from walkforge.study._learn import Learning
from walkforge.study._prepare import Prepared, prepare


class _LooksAtTheTable(Silent):
    def __init__(self):
        self.stages = {}

    def stage(self, name):
        self.stages[name] = any(type(one) is Prepared for one in gc.get_objects())


def test_the_table_is_gone_once_everything_is_learned(tmp_path):
    looks = _LooksAtTheTable()
    study.run(small_study("training.epochs=1"), tmp_path / "run", bars=small_bars(), watcher=looks)
    assert looks.stages["baselines"]
    assert not looks.stages["measures"]


@pytest.mark.parametrize("kind", ["standard", "robust", "none"])
def test_a_scaler_learned_by_blocks_of_columns_is_the_scaler_of_all(kind):
    prepared = prepare(small_bars(), small_study(f"features.scaler={kind}"))
    for part in prepared.parts:
        values = prepared.series[part.series].values
        whole = features.fit_scaler(kind, values[part.rows.train])
        assert part.scaler.as_dict() == whole.as_dict()


def test_the_seeds_of_a_part_share_its_rows():
    prepared = prepare(small_bars(), small_study())
    learning = Learning(small_study(), prepared, Silent())
    (_, first), (_, second) = learning.members()[:2]
    assert (first.seed, second.seed) == (0, 1)
    assert np.shares_memory(first.train_rows, second.train_rows)
