"""The CNN-LSTM learns, packed as alone, and refuses kernels that cannot be."""

import pytest

from training.packs import N_FEATURES, Log, assert_same_state, make_table, train, unlike_members
from walkforge.base import TrainingError
from walkforge.models import CnnLstm
from walkforge.training import TrainingPlan

SMALL = CnnLstm(n_features=N_FEATURES, window_bars=4, n_classes=3, channels=(6,), hidden=8)
DROPPED = CnnLstm(
    n_features=N_FEATURES, window_bars=4, n_classes=3, channels=(6, 5), hidden=8, layers=2,
    dropout=0.2,
)  # fmt: skip
PLAN = TrainingPlan(epochs=4, batch_size=32, learning_rate=3e-3, patience=4)


@pytest.mark.parametrize("architecture", [SMALL, DROPPED], ids=str)
def test_members_train_together_as_they_train_alone(architecture):
    table = make_table()
    members = unlike_members(table)[:3]
    together = train(architecture, table, members, PLAN)
    for one in together:
        (alone,) = train(architecture, table, [one.member], PLAN)
        assert one.best_epoch == alone.best_epoch
        assert_same_state(one.state, alone.state, rtol=1e-3, atol=1e-4)


def test_it_learns_what_is_there_to_learn():
    table, log = make_table(), Log()
    plan = TrainingPlan(epochs=12, batch_size=32, learning_rate=1e-2, patience=12)
    train(SMALL, table, unlike_members(table)[1:2], plan, watcher=log)
    losses = [report["members"][0]["validation_loss"] for report in log.reports]
    assert min(losses) < 0.6 < losses[0]


@pytest.mark.parametrize("kernel_bars", [-1, 0, 2, 4])
def test_an_even_kernel_has_no_middle_and_is_refused(kernel_bars):
    with pytest.raises(TrainingError, match="expected an odd number"):
        CnnLstm(n_features=5, window_bars=9, n_classes=3, kernel_bars=kernel_bars)


def test_a_kernel_that_reaches_beyond_the_window_on_both_sides_is_refused():
    CnnLstm(n_features=5, window_bars=3, n_classes=3, kernel_bars=5)
    with pytest.raises(TrainingError, match=r"kernel_bars is 7, and at most 5") as refusal:
        CnnLstm(n_features=5, window_bars=3, n_classes=3, kernel_bars=7)
    assert "\n" not in str(refusal.value)
