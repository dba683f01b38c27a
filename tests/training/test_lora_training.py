"""Low-rank factors learn beside frozen weights, alone and in two processes, and after a cut."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from training.packs import Log, assert_same_state
from training.token_markets import FLOAT32, PLAN, SHAPE, asset, build, small_table
from walkforge.base import TrainingError
from walkforge.models import add_lora, merge_lora
from walkforge.training import TokenTable, token_losses, train_gpt

SURE = replace(SHAPE, dropout=0.0)
HALVES = replace(PLAN, micro_windows=3)


class CutOffError(Exception):
    """Thrown into a training to cut it off."""


class StopsAfter(Log):
    """Cuts off after an epoch's report."""

    def __init__(self, epoch):
        super().__init__()
        self.last = epoch

    def epoch(self, report):
        super().epoch(report)
        if report["epoch"] == self.last:
            raise CutOffError


def adapted(shape=SHAPE, rank=2):
    model = build(shape)
    add_lora(model, rank=rank, seed=0)
    return model


def train(model, table=None, plan=PLAN, **changes):
    table = small_table() if table is None else table
    return train_gpt(model, table, plan, **({"seed": 0, "precision": FLOAT32} | changes))


def losses(model, table):
    return token_losses(model, table, "train", precision=FLOAT32).losses_K


def test_another_market_is_learned_by_factors_alone_and_stays_learned_when_they_are_merged():
    known, other = (TokenTable.of([asset(np.tile(x, 40))]) for x in ([0, 1, 2, 4], [4, 0, 2, 1]))
    model, plan = build(SURE), replace(PLAN, epochs=2, steps_per_epoch=40)
    train(model, known, replace(plan, steps_per_epoch=100))
    add_lora(model, rank=4, seed=0)
    before = {name: one.clone() for name, one in model.state_dict().items()}
    at_first_K = losses(model, other)
    trained = train(model, other, plan)
    learned = {name for name in before if not torch.equal(trained.state[name], before[name])}
    adapted_K = losses(model, other)
    merge_lora(model)

    assert learned == {name for name in before if name.endswith((".up", ".down"))}
    assert adapted_K.mean() < 0.05 < 3 < at_first_K.mean()
    np.testing.assert_allclose(losses(model, other), adapted_K, rtol=1e-3, atol=1e-5)


def test_a_training_that_was_cut_off_goes_on_bit_for_bit(tmp_path):
    whole = train(adapted())
    with pytest.raises(CutOffError):
        train(adapted(), watcher=StopsAfter(2), checkpoints=tmp_path)
    log = Log()
    resumed = train(adapted(), watcher=log, checkpoints=tmp_path)

    # Reported, but not yet kept: the second epoch is trained again.
    assert [report["epoch"] for report in log.reports] == [2, 3, 4]
    assert resumed.history == whole.history
    assert_same_state(resumed.state, whole.state)


def test_a_checkpoint_of_full_training_is_refused_for_factors(tmp_path):
    train(build(), plan=replace(PLAN, epochs=1), checkpoints=tmp_path)

    with pytest.raises(TrainingError, match="belongs to another"):
        train(adapted(), plan=replace(PLAN, epochs=1), checkpoints=tmp_path)


def test_a_checkpoint_of_another_rank_is_refused(tmp_path):
    train(adapted(), plan=replace(PLAN, epochs=1), checkpoints=tmp_path)

    with pytest.raises(TrainingError, match="belongs to another"):
        train(adapted(rank=3), plan=replace(PLAN, epochs=1), checkpoints=tmp_path)


def test_factors_learn_in_parts_of_a_batch_and_with_blocks_computed_anew():
    whole = train(adapted(SURE))
    plan = replace(PLAN, micro_windows=2, gradient_checkpointing=True)
    parts = train(adapted(SURE), plan=plan)

    for one, other in zip(whole.history, parts.history, strict=True):
        assert other == pytest.approx(one, rel=1e-4)


@pytest.mark.slow
def test_two_processes_have_the_losses_of_one_and_send_the_factors_back():
    alone, model = train(adapted(), plan=HALVES), adapted()
    frozen = {name: one.clone() for name, one in model.named_parameters() if not one.requires_grad}
    both = train(model, devices=2)

    for one, other in zip(alone.history, both.history, strict=True):
        assert other == pytest.approx(one, rel=1e-5)
    assert_same_state(both.state, alone.state, rtol=1e-4, atol=1e-5)
    assert_same_state(dict(model.state_dict()), both.state)
    assert all(torch.equal(both.state[name], one) for name, one in frozen.items())
