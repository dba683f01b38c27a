"""What a study prepares: one table of features, and views into it."""

import numpy as np

from study_runs import small_bars, small_study
from walkforge import features
from walkforge.study._prepare import prepare


def test_every_symbol_looks_into_the_one_table_at_its_own_rows():
    bars, study = small_bars(), small_study()
    prepared = prepare(bars, study)
    assert len(prepared.table) == sum(len(one) for one in bars.values())
    for symbol, data in prepared.series.items():
        first = prepared.first_row[symbol]
        assert np.shares_memory(data.values, prepared.table)
        np.testing.assert_array_equal(
            prepared.table[first : first + len(data.bars)],
            features.build(bars[symbol], study.features.set).values,
        )


def test_where_the_features_came_from_is_noted():
    notes = []
    prepare(small_bars(), small_study(), note=notes.append)
    assert [note[:9] for note in notes] == ["features:"]
