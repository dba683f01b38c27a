"""Training a MarketGPT: what it learns, what it must not see, and how it goes on."""

import json
import math
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from safetensors import safe_open
from torch.testing import assert_close

from training.packs import Log, assert_same_state
from training.token_markets import (
    CONTEXT,
    FLOAT32,
    PLAN,
    SHAPE,
    asset,
    build,
    chain,
    entropy_rate,
    noise,
    small_table,
    train,
    walk,
)
from walkforge.base import Precision, TrainingError
from walkforge.models import MarketGpt
from walkforge.training import GptPlan, TokenTable, flops_per_token, token_losses, train_gpt
from walkforge.training._gpt_one_device import OneDevice
from walkforge.training._gpt_optimiser import make_optimiser
from walkforge.training._gpt_plan import rate_at
from walkforge.training._gpt_speed import peak_flops
from walkforge.training._gpt_step import GptSteps
from walkforge.training._token_table import ResidentTokens
from walkforge.training._token_windows import TrainingWindows
from walkforge.training._watcher import Unwatched

CPU = torch.device("cpu")
SURE = replace(SHAPE, dropout=0.0)


class CutOffError(Exception):
    """Thrown into a training to cut it off."""


class StopsAt(Log):
    """Cuts off in an epoch, at a step or after its report."""

    def __init__(self, epoch, step):
        super().__init__()
        self.at = epoch, step

    def step(self, epoch, step, n_steps):
        super().step(epoch, step, n_steps)
        if (epoch, step) == self.at:
            raise CutOffError

    def epoch(self, report):
        super().epoch(report)
        if (report["epoch"], None) == self.at:
            raise CutOffError


def with_other_tokens(table, from_piece):
    """Return the table with other tokens in all slices from a piece on."""
    other = (np.uint16(6) - table.tokens).astype(np.uint16)
    return replace(table, tokens=np.where(table.piece >= from_piece, other, table.tokens))


def train_losses(trained):
    return [epoch["train_loss"] for epoch in trained.history]


def first_gradients(table, *, shape=SURE, plan=PLAN):
    """Return the gradients of the first step's global batch, and the sum of its losses."""
    model = build(shape)
    drawn = TrainingWindows(table, context=shape.context, weights="rows", seed=0).draw(0, 6)
    steps = GptSteps(
        model,
        make_optimiser(model, plan),
        ResidentTokens.of(table, CPU),
        plan,
        shape=shape,
        on=OneDevice(CPU, FLOAT32),
        seed=0,
        watcher=Unwatched(),
    )
    places = torch.from_numpy(drawn.places_W5)
    loss_sum = steps._gradients(places, int(drawn.n_targets_W.sum()), 0)
    return {name: one.grad for name, one in model.named_parameters()}, loss_sum, drawn


def test_tokens_after_the_validation_slice_change_nothing():
    table = small_table()
    one, other = train(table), train(with_other_tokens(table, from_piece=2))

    assert one.history == other.history
    assert_same_state(one.state, other.state)


def test_validation_tokens_stop_a_training_but_teach_it_nothing():
    table = small_table()
    one, other = train(table), train(with_other_tokens(table, from_piece=1))

    assert train_losses(one) == train_losses(other)
    assert [e["validation_loss"] for e in one.history] != [
        e["validation_loss"] for e in other.history
    ]


def test_the_loss_is_the_mean_over_the_targets_of_the_slice_computed_one_by_one():
    table = small_table()
    _, loss_sum, drawn = first_gradients(table)
    model, slow, n_targets = build(SURE), 0.0, 0
    for first, _, last, which, category in drawn.places_W5:
        for row in range(first + 1, last + 1):
            if table.piece[row] == 0:
                past = torch.from_numpy(table.tokens[first:row].astype(np.int64))[None]
                with torch.no_grad():
                    logits = model(past, torch.tensor([which]), torch.tensor([category]))[0, -1]
                slow -= logits.log_softmax(0)[int(table.tokens[row])].item()
                n_targets += 1

    assert n_targets == drawn.n_targets_W.sum() > 30
    assert loss_sum.item() == pytest.approx(slow, rel=1e-5)


def test_a_target_outside_of_the_slice_moves_neither_loss_nor_gradient():
    table = small_table()
    purged = np.flatnonzero(table.piece == 0)[30:36]
    piece = table.piece.copy()
    piece[purged] = -1
    clean = replace(table, piece=piece)
    tokens = clean.tokens.copy()
    last = purged[-1]
    tokens[last] = (tokens[last] + 1) % 7
    # The window reads rows up to the last purged one as targets only, so that it is no input.
    places = torch.tensor([[last - CONTEXT, last - CONTEXT + 1, last, 0, 0]])
    results = []
    for one in (clean, replace(clean, tokens=tokens)):
        model = build(SURE)
        steps = GptSteps(
            model, make_optimiser(model, PLAN), ResidentTokens.of(one, CPU), PLAN,
            shape=SURE, on=OneDevice(CPU, FLOAT32), seed=0, watcher=Unwatched(),
        )  # fmt: skip
        loss = steps._gradients(places, 2, 0)
        results.append((loss, [p.grad for p in model.parameters()]))

    assert results[0][0] > 0
    assert results[0][0] == results[1][0]
    for left, right in zip(results[0][1], results[1][1], strict=True):
        assert torch.equal(left, right)


@pytest.mark.parametrize("micro_windows", [1, 4, 5])
def test_a_batch_in_parts_has_the_gradients_of_the_whole(micro_windows):
    table = small_table()
    whole, whole_loss, _ = first_gradients(table)
    parts, loss, _ = first_gradients(table, plan=replace(PLAN, micro_windows=micro_windows))

    assert loss.item() == pytest.approx(whole_loss.item(), rel=1e-6)
    for name, gradient in whole.items():
        assert_close(parts[name], gradient, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("micro_windows", [1, 4])
def test_a_training_in_parts_has_the_losses_of_the_whole(micro_windows):
    table = small_table()
    whole = train(table, shape=SURE)
    parts = train(table, replace(PLAN, micro_windows=micro_windows), shape=SURE)

    for one, other in zip(whole.history, parts.history, strict=True):
        assert other == pytest.approx(one, rel=1e-4)


def test_gradient_checkpointing_changes_no_number():
    table = small_table()
    one, other = train(table), train(table, replace(PLAN, gradient_checkpointing=True))

    assert train_losses(one) == pytest.approx(train_losses(other), rel=1e-6)
    assert_same_state(one.state, other.state, rtol=1e-5, atol=1e-6)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of the compiler, about itself
def test_compiled_steps_train_as_plain_ones():
    table, plan, log = small_table(), replace(PLAN, micro_windows=4), Log()
    plain = train(table, plan, shape=SURE)
    compiled = train(table, plan, shape=SURE, compiled=True, watcher=log)

    assert "steps are compiled" in log.notes
    assert train_losses(compiled) == pytest.approx(train_losses(plain), rel=1e-4)
    assert_same_state(compiled.state, plain.state, rtol=1e-3, atol=1e-4)


def test_training_leaves_the_random_state_of_others_alone():
    torch.manual_seed(5)
    expected = torch.rand(3)
    model = build()
    torch.manual_seed(5)
    train_gpt(model, small_table(), replace(PLAN, epochs=1), seed=0, precision=FLOAT32)

    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize("at", [(2, None), (3, 2), (1, 1)])
def test_a_training_that_was_cut_off_goes_on_bit_for_bit(tmp_path, at):
    table = small_table()
    whole_log = Log()
    whole = train(table, watcher=whole_log)
    cut, log = StopsAt(*at), Log()
    with pytest.raises(CutOffError):
        train(table, watcher=cut, checkpoints=tmp_path)
    resumed = train(table, watcher=log, checkpoints=tmp_path)

    assert resumed.history == whole.history
    assert resumed.best_epoch == whole.best_epoch
    assert_same_state(resumed.state, whole.state)
    assert log.reports[0]["epoch"] == max(at[0], 1)
    assert log.reports[-1]["members"] == whole_log.reports[-1]["members"]


def test_what_is_kept_seldom_is_trained_again_to_the_same_end(tmp_path):
    table, plan = small_table(), replace(PLAN, checkpoint_epochs=2)
    whole = train(table, plan)
    with pytest.raises(CutOffError):
        train(table, plan, watcher=StopsAt(4, 3), checkpoints=tmp_path)
    log = Log()
    resumed = train(table, plan, watcher=log, checkpoints=tmp_path)

    assert [report["epoch"] for report in log.reports] == [3, 4]
    assert_same_state(resumed.state, whole.state)


def test_a_finished_training_is_taken_up_without_a_step(tmp_path):
    table, log = small_table(), Log()
    whole = train(table, checkpoints=tmp_path)
    again = train(table, watcher=log, checkpoints=tmp_path)

    assert log.steps == 0
    assert again.history == whole.history
    assert_same_state(again.state, whole.state)


def test_the_best_weights_lie_beside_the_newest_two_checkpoints(tmp_path):
    trained = train(small_table(), checkpoints=tmp_path)

    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "best_model.safetensors",
        "checkpoint_epoch_3.safetensors",
        "checkpoint_epoch_4.safetensors",
    ]
    with safe_open(tmp_path / "best_model.safetensors", framework="pt") as file:
        facts = json.loads(file.metadata()["walkforge"])
        assert_same_state({k: file.get_tensor(k) for k in file.keys()}, trained.state)  # noqa: SIM118
    assert facts["epoch"] == trained.best_epoch
    assert facts["validation_loss"] == trained.best_validation_loss


def test_checkpoints_of_another_training_are_refused(tmp_path):
    train(small_table(), replace(PLAN, epochs=1), checkpoints=tmp_path)

    with pytest.raises(TrainingError, match="belongs to another"):
        train(small_table(), replace(PLAN, epochs=2), checkpoints=tmp_path)


def test_a_damaged_checkpoint_is_passed_over_and_said(tmp_path):
    table, log = small_table(), Log()
    whole = train(table, checkpoints=tmp_path)
    (tmp_path / "checkpoint_epoch_4.safetensors").write_bytes(b"cut off")
    resumed = train(table, watcher=log, checkpoints=tmp_path)

    assert any("checkpoint_epoch_4.safetensors: not a readable" in note for note in log.notes)
    assert [report["epoch"] for report in log.reports] == [4]
    assert_same_state(resumed.state, whole.state)


def test_only_damaged_checkpoints_are_refused(tmp_path):
    (tmp_path / "checkpoint_epoch_1.safetensors").write_bytes(b"")

    with pytest.raises(TrainingError, match=r"delete .* to train from the start"):
        train(small_table(), checkpoints=tmp_path)


def fails_above(monkeypatch, n_windows, words="CUDA error: out of memory"):
    """Let the network find no memory for more windows than that; return what was tried."""
    forward, tried = MarketGpt.forward, []

    def forward_or_fail(self, tokens_BT, *rest):
        tried.append(len(tokens_BT))
        if len(tokens_BT) > n_windows:
            raise RuntimeError(words)
        return forward(self, tokens_BT, *rest)

    monkeypatch.setattr(MarketGpt, "forward", forward_or_fail)
    return tried


def test_where_memory_runs_out_the_same_batch_goes_on_in_smaller_parts(monkeypatch):
    table, log = small_table(), Log()
    whole = train(table, shape=SURE)
    tried = fails_above(monkeypatch, 2)
    parts = train(table, shape=SURE, watcher=log)

    assert tried[:3] == [6, 3, 2]
    assert sum("out of memory with" in note for note in log.notes) == 2
    assert "out of memory with 6 windows at once; going on with 3" in "".join(log.notes)
    assert log.reports[-1]["micro_windows"] == 2
    for one, other in zip(whole.history, parts.history, strict=True):
        assert other == pytest.approx(one, rel=1e-4)


def test_a_step_that_failed_half_way_is_taken_as_if_it_had_not_been_tried(monkeypatch):
    table, plan = small_table(), replace(PLAN, micro_windows=3)
    expected = train(table, replace(PLAN, micro_windows=2), shape=SURE)
    backward, calls = OneDevice.backward, []

    def fail_once(self, loss):
        calls.append(1)
        if len(calls) == 2:  # the second part of the first step; the first has left its gradient
            raise torch.OutOfMemoryError("no memory")
        backward(self, loss)

    monkeypatch.setattr(OneDevice, "backward", fail_once)
    trained = train(table, plan, shape=SURE)

    assert_same_state(trained.state, expected.state)


def test_one_window_that_does_not_fit_is_an_error_in_one_line(monkeypatch):
    fails_above(monkeypatch, 0)

    with pytest.raises(
        TrainingError, match=r"one window of 8 tokens; set training\.gradient"
    ) as error:
        train(small_table())
    assert "\n" not in str(error.value)


def test_moments_that_do_not_fit_are_an_error_in_one_line(monkeypatch):
    def fail(self, *args):
        raise torch.OutOfMemoryError("no memory")

    monkeypatch.setattr(OneDevice, "update", fail)

    with pytest.raises(TrainingError, match=r"moments of 0\.0 million parameters"):
        train(small_table())


def test_another_error_is_not_taken_for_want_of_memory(monkeypatch):
    fails_above(monkeypatch, 0, words="shapes do not fit")

    with pytest.raises(RuntimeError, match="shapes do not fit"):
        train(small_table())


def test_a_checkpoint_keeps_how_many_windows_fit(monkeypatch, tmp_path):
    table = small_table()
    tried = fails_above(monkeypatch, 3)
    with pytest.raises(CutOffError):
        train(table, watcher=StopsAt(2, 1), checkpoints=tmp_path)
    tried.clear()
    log = Log()
    train(table, watcher=log, checkpoints=tmp_path)

    assert tried[0] == 3
    assert not any("out of memory" in note for note in log.notes)


def test_a_tiny_market_is_learned_by_heart():
    shape = replace(SURE, d_model=32, d_ff=64, n_assets=1, n_categories=1, context=16)
    # 40 rows of noise: what comes next follows from a few tokens together, not from one.
    table = TokenTable.of([asset(np.tile(noise(20, 7), 4), pieces=[40, 20, 10, 10])])
    plan = GptPlan(
        epochs=3, batch_windows=4, steps_per_epoch=60, learning_rate=1e-2, warmup_steps=10,
        weight_decay=0.0,
    )  # fmt: skip
    trained = train(table, plan, shape=shape)

    assert train_losses(trained)[-1] < 0.2
    model = build(shape)
    model.load_state_dict(trained.state)
    found = token_losses(model, table, "train", precision=FLOAT32)
    # The first targets of the run have too little past to be known.
    assert found.losses_K[8:].mean() < 0.02
    assert found.hits_K[8:].all()


def test_a_markov_market_is_learned_to_its_entropy_rate():
    moves = chain(vocabulary=5)
    tokens = walk(moves, 32_000)
    table = TokenTable.of([asset(tokens, pieces=[11_000, 20_000, 500, 500])])
    shape = replace(SURE, vocabulary=5, d_model=24, d_ff=48, context=16, n_assets=1, n_categories=1)
    plan = GptPlan(
        epochs=2, batch_windows=16, steps_per_epoch=130, learning_rate=1e-2, warmup_steps=30
    )
    trained = train(table, plan, shape=shape)
    # What the chain itself loses on the very same tokens; a sample is not quite its mean.
    rows = table.target_rows("validation")
    least = -np.log(moves[tokens[rows - 1], tokens[rows]]).mean()

    assert trained.best_validation_loss == pytest.approx(entropy_rate(moves), rel=0.02)
    assert least * 0.999 < trained.best_validation_loss < least * 1.02


STOPPING = replace(PLAN, epochs=9, patience=2, learning_rate=3e-2)


def turning_table():
    """Return a market that turns around after its training rows, so that learning harms."""
    tokens = np.concatenate([np.tile([0, 1, 2], 60), np.tile([2, 1, 0], 40)])
    return TokenTable.of([asset(tokens, pieces=[180, 120])])


def test_best_weights_of_an_earlier_epoch_outlive_a_cut(tmp_path):
    table = turning_table()
    whole = train(table, STOPPING, shape=SURE)
    cut = StopsAt(whole.best_epoch + 2, 3)
    with pytest.raises(CutOffError):
        train(table, STOPPING, shape=SURE, watcher=cut, checkpoints=tmp_path)
    resumed = train(table, STOPPING, shape=SURE, checkpoints=tmp_path)

    assert resumed.best_epoch == whole.best_epoch
    assert_same_state(resumed.state, whole.state)


def test_early_stopping_keeps_the_best_weights():
    table, plan, log = turning_table(), STOPPING, Log()
    model = build(SURE)
    trained = train_gpt(model, table, plan, seed=0, precision=FLOAT32, watcher=log)
    losses = [epoch["validation_loss"] for epoch in trained.history]

    assert len(losses) == trained.best_epoch + 2 < 9
    assert trained.best_validation_loss == min(losses) < losses[-1]
    assert [r["members"][0]["done"] for r in log.reports] == [False] * (len(losses) - 1) + [True]
    assert_same_state(model.state_dict(), trained.state)
    again = token_losses(model, table, "validation", precision=FLOAT32)
    assert again.losses_K.mean() == pytest.approx(min(losses), rel=1e-5)


def test_a_loss_that_is_not_finite_ends_the_training_with_its_first_weights():
    log, model = Log(), build(SURE)
    first = {k: v.clone() for k, v in model.state_dict().items()}
    with torch.no_grad():
        model.norm.weight.fill_(math.nan)
        first["norm.weight"].fill_(math.nan)
    trained = train_gpt(model, small_table(), PLAN, seed=0, precision=FLOAT32, watcher=log)

    assert trained.best_epoch == 0
    assert len(trained.history) == 1
    assert math.isnan(trained.best_validation_loss)
    assert any("not finite" in note for note in log.notes)
    for name in first:
        assert_close(trained.state[name], first[name], rtol=0, atol=0, equal_nan=True)


def test_weights_that_need_no_gradient_stay_as_they_are():
    model = build(SURE)
    model.tokens.requires_grad_(False)
    before = model.tokens.weight.clone()
    trained = train_gpt(model, small_table(), PLAN, seed=0, precision=FLOAT32)

    assert torch.equal(trained.state["tokens.weight"], before)
    assert not torch.equal(
        trained.state["blocks.0.attention.qkv.weight"], build(SURE).blocks[0].attention.qkv.weight
    )


def test_only_matrices_decay():
    model = build(replace(SHAPE, tied=False))
    decaying, others = make_optimiser(model, PLAN).param_groups
    names = {id(one): name for name, one in model.named_parameters()}

    assert decaying["weight_decay"] == PLAN.weight_decay
    assert others["weight_decay"] == 0.0
    assert {names[id(one)].split(".")[-2] for one in decaying["params"]} == {
        "qkv", "out", "up", "down", "head", "projection",
    }  # fmt: skip
    assert {names[id(one)].split(".")[-2] for one in others["params"]} == {
        "tokens", "table", "norm", "attention_norm", "feed_forward_norm",
    }  # fmt: skip
    assert len(names) == len(decaying["params"]) + len(others["params"])


def test_steps_are_those_of_adamw_after_clipping():
    table, plan = small_table(), replace(PLAN, epochs=1, steps_per_epoch=1, clip_norm=0.05)
    gradients, _, _ = first_gradients(table, plan=plan)
    model = build(SURE)
    for name, one in model.named_parameters():
        one.grad = gradients[name]
    torch.nn.utils.clip_grad_norm_(model.parameters(), 0.05)
    matrices = [p for n, p in model.named_parameters() if p.ndim == 2 and "table" not in n]
    decaying = [p for p in matrices if p is not model.tokens.weight]
    rest = [p for p in model.parameters() if all(p is not one for one in decaying)]
    slow = torch.optim.AdamW(
        [{"params": decaying, "weight_decay": 0.1}, {"params": rest, "weight_decay": 0.0}],
        lr=rate_at(plan, 0, 1),
        betas=(0.9, 0.95),
    )
    slow.step()
    trained = train(table, plan, shape=SURE)

    assert_same_state(trained.state, dict(model.state_dict()), rtol=1e-5, atol=1e-7)


def test_the_learning_rate_rises_on_a_line_and_falls_on_a_cosine():
    plan = GptPlan(learning_rate=1.0, warmup_steps=10, final_rate_frac=0.2)

    assert rate_at(plan, 0, 110) == pytest.approx(0.1)
    assert rate_at(plan, 9, 110) == pytest.approx(1.0)
    assert rate_at(plan, 10, 110) == pytest.approx(1.0)
    assert rate_at(plan, 60, 110) == pytest.approx(0.6)
    assert rate_at(plan, 110, 110) == pytest.approx(0.2)
    falling = [rate_at(plan, step, 110) for step in range(10, 110)]
    assert falling == sorted(falling, reverse=True)


def test_a_short_training_warms_up_over_half_of_its_steps_and_says_so():
    log = Log()
    train(small_table(), replace(PLAN, epochs=1, warmup_steps=50), watcher=log)

    assert rate_at(GptPlan(learning_rate=1.0, warmup_steps=50), 1, 5) == 1.0
    assert any("warms up over 2 steps" in note for note in log.notes)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("epochs", 0), ("batch_windows", 0), ("micro_windows", 0), ("steps_per_epoch", 0),
        ("learning_rate", -1e-3), ("learning_rate", math.nan), ("warmup_steps", -1),
        ("final_rate_frac", 1.5), ("weight_decay", math.inf), ("betas", (0.9, 1.0)),
        ("clip_norm", 0.0), ("patience", 0), ("checkpoint_epochs", 0), ("weights", "asset"),
    ],
)  # fmt: skip
def test_a_plan_that_cannot_be_is_refused_by_name(field, value):
    with pytest.raises(TrainingError, match=f"training.{field} is"):
        GptPlan(**{field: value})


@pytest.mark.parametrize(
    ("part", "limit"),
    [("vocabulary", "token 6"), ("n_assets", "asset 2"), ("n_categories", "category 1")],
)
def test_a_table_that_the_model_has_no_rows_for_is_refused(part, limit):
    smaller = {"vocabulary": 6, "n_assets": 2, "n_categories": 1}[part]

    with pytest.raises(TrainingError, match=f"the table has {limit} as its highest"):
        train(small_table(), shape=replace(SHAPE, **{part: smaller}))


def test_an_epoch_takes_as_many_steps_as_show_every_target_once():
    table, log = small_table(), Log()
    n_targets = len(table.target_rows("train"))
    train(table, replace(PLAN, epochs=1, steps_per_epoch=None), watcher=log)

    assert log.steps == math.ceil(n_targets / (6 * CONTEXT))


def test_a_report_says_what_a_log_needs():
    table, log = small_table(), Log()
    train(table, replace(PLAN, epochs=1), watcher=log, name="crypto")
    (report,) = log.reports
    (member,) = report["members"]
    guess = np.bincount(table.tokens[table.target_rows("train")]).argmax()

    assert (report["epoch"], report["epochs"], report["steps"]) == (1, 1, 5)
    assert (member["name"], member["best"], member["done"]) == ("crypto", True, True)
    assert member["train_loss"] == report["loss"]
    assert 0 <= report["accuracy"] <= 1
    assert report["constant_accuracy"] == pytest.approx(
        (table.tokens[table.target_rows("validation")] == guess).mean()
    )
    assert report["learning_rate"] == rate_at(replace(PLAN, epochs=1), 4, 5)
    assert report["tokens_per_s"] > report["rows_per_s"] > 0
    assert report["mfu_frac"] is None
    assert 0 < report["roof_frac"] < 1
    assert report["memory_bytes"] > 0


def test_operations_of_a_token_are_counted_as_by_hand():
    # two layers of 4 x 16 x 16 and 2 x 16 x 32, a head of 7 x 16; attention over 8 tokens
    matrices = 2 * (4 * 16 * 16 + 2 * 16 * 32) + 7 * 16

    assert flops_per_token(SHAPE) == 6 * matrices + 6 * 2 * 16 * 8
    assert flops_per_token(replace(SHAPE, tied=False)) == flops_per_token(SHAPE)


@pytest.mark.parametrize(
    ("name", "precision", "expected"),
    [
        ("NVIDIA H100 80GB HBM3", "bfloat16", 989.4e12),
        ("NVIDIA H100 PCIe", "bfloat16", 756e12),
        ("NVIDIA A100-SXM4-80GB", "bfloat16", 312e12),
        ("NVIDIA L40S", "bfloat16", 362e12),
        ("NVIDIA L4", "bfloat16", 121e12),
        ("NVIDIA H100 80GB HBM3", "float32", None),
        ("NVIDIA H100 80GB HBM3 MIG 1g.10gb", "bfloat16", None),
        ("NVIDIA Tomorrow", "bfloat16", None),
    ],
)
def test_peaks_are_those_of_the_device_by_name(monkeypatch, name, precision, expected):
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: name)

    assert peak_flops(torch.device("cuda", 0), Precision(precision, True, True)) == expected
    assert peak_flops(CPU, Precision(precision, True, True)) is None


@pytest.mark.parametrize("name", ["bfloat16", "float16"])
def test_products_in_16_bits_train_about_as_well(name, tmp_path):
    table = small_table()
    precise = train(table, shape=SURE)
    precision = Precision(name, autocast=True, tf32=False)
    rounded = train(table, shape=SURE, precision=precision)
    with pytest.raises(CutOffError):
        train(table, shape=SURE, precision=precision, watcher=StopsAt(3, 1), checkpoints=tmp_path)
    resumed = train(table, shape=SURE, precision=precision, checkpoints=tmp_path)

    assert train_losses(rounded) == pytest.approx(train_losses(precise), rel=0.05)
    assert rounded.state["tokens.weight"].dtype == torch.float32
    assert_same_state(rounded.state, resumed.state)


def test_the_scale_of_16_bit_losses_goes_on_where_it_was(monkeypatch, tmp_path):
    # It doubles at every step until one overflows and is left out: which ones depends on it.
    restless = partial(torch.amp.GradScaler, growth_interval=1)
    monkeypatch.setattr(torch.amp, "GradScaler", restless)
    half = {"precision": Precision("float16", autocast=True, tf32=False), "shape": SURE}
    table = small_table()
    whole = train(table, **half)
    with pytest.raises(CutOffError):
        train(table, **half, watcher=StopsAt(3, 1), checkpoints=tmp_path)
    resumed = train(table, **half, checkpoints=tmp_path)

    assert_same_state(resumed.state, whole.state)
    assert resumed.history == whole.history


def test_token_losses_are_those_of_each_target_alone():
    table, model = small_table(), build().train()  # with dropout, which must not act
    found = token_losses(model, table, "test", precision=FLOAT32, windows_at_once=3)
    fewer = token_losses(model, table, "test", precision=FLOAT32, windows_at_once=100)

    assert found.rows_K.tolist() == table.target_rows("test").tolist()
    assert_close(found.losses_K, fewer.losses_K)
    assert model.training
    for place, row in enumerate(found.rows_K):
        losses = []
        for past_bars in range(1, min(CONTEXT, row - table.run_first[row]) + 1):
            past = torch.from_numpy(table.tokens[row - past_bars : row].astype(np.int64))[None]
            which = [torch.tensor([int(c[row])]) for c in (table.asset, table.category)]
            with torch.no_grad():
                logits = model.eval()(past, *which)[0, -1]
            losses.append(-logits.log_softmax(0)[int(table.tokens[row])].item())
        # as long a past as the window has: half a context at least
        least = min(CONTEXT // 2, len(losses) - 1)
        assert np.abs(np.array(losses[least:]) - found.losses_K[place]).min() < 1e-5


def test_measuring_goes_on_in_smaller_parts_where_memory_runs_out(monkeypatch):
    table, model = small_table(), build(SURE)
    expected = token_losses(model, table, "train", precision=FLOAT32)
    fails_above(monkeypatch, 5)
    found = token_losses(model, table, "train", precision=FLOAT32, windows_at_once=8)

    assert len(found.rows_K) == len(expected.rows_K)
    assert_close(found.losses_K, expected.losses_K)
    fails_above(monkeypatch, 0)
    with pytest.raises(TrainingError, match="measure one window"):
        token_losses(model, table, "train", precision=FLOAT32, windows_at_once=2)
