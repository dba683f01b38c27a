"""The packed trainer against plain PyTorch, and the promises it makes about its members."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from training.packs import (
    BATCH_NORM,
    BILSTM,
    CLIP,
    CNN_LSTM,
    DEEP_BATCH_NORM,
    DROPPED,
    FLOAT32,
    GRU,
    MLP,
    N_ROWS,
    Log,
    assert_same_state,
    make_member,
    make_table,
    train,
)
from walkforge.base import TrainingError
from walkforge.models import (
    Layout,
    PackedForward,
    extract_twin,
    initial_state,
    predict_outputs,
    stack_states,
)
from walkforge.models._walks import WalkChoice
from walkforge.training import TrainingPlan, classification_loss


def _stacked(architecture, *trained):
    return stack_states(architecture, [one.state for one in trained], torch.device("cpu"))


@pytest.fixture
def table() -> torch.Tensor:
    return make_table()


@pytest.mark.parametrize(
    "architecture", [MLP, DROPPED, DEEP_BATCH_NORM, GRU, CNN_LSTM, BILSTM], ids=str
)
def test_a_member_trains_the_same_alone_and_in_a_pack(architecture, table):
    members = [
        make_member(table, "A", n_train=120),
        make_member(table, "B", seed=1, n_train=300),
        make_member(table, "C", seed=2, n_train=200, learning_rate=1e-3, weight_decay=0.1),
    ]
    packed = train(architecture, table, members)
    for member, trained in zip(members, packed, strict=True):
        alone = train(architecture, table, [member])[0]
        assert trained.member is member
        assert trained.best_epoch == alone.best_epoch
        assert_same_state(trained.state, alone.state, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("architecture", [DROPPED, BATCH_NORM, GRU, CNN_LSTM, BILSTM], ids=str)
def test_nan_in_one_members_data_leaves_every_other_member_bit_identical(architecture, table):
    table = torch.cat([table, table])
    healthy = [make_member(table, "A"), make_member(table, "C", seed=2, n_train=200)]
    rows = np.arange(N_ROWS + 10, N_ROWS + 310)
    middle = make_member(table, "B", train_rows=rows, validation_rows=np.arange(1000, 1150))
    members = [healthy[0], middle, healthy[1]]
    clean = train(architecture, table, members)
    poisoned_table = table.clone()
    poisoned_table[N_ROWS:] = torch.nan
    poisoned = train(architecture, poisoned_table, members)
    assert poisoned[1].best_epoch == 0
    assert np.isnan(poisoned[1].best_validation_loss)
    assert not all(tensor.isfinite().all() for tensor in poisoned[1].state.values())
    for m in (0, 2):
        assert_same_state(clean[m].state, poisoned[m].state)


def test_training_is_plain_pytorch_with_adamw_and_clipping(table):
    member = make_member(table)
    plan = TrainingPlan(epochs=1, batch_size=300, learning_rate=1e-2, weight_decay=0.1,
                        clip_norm=0.5, schedule="constant")  # fmt: skip
    trained = train(MLP, table, [member], plan)[0]
    twin = extract_twin(MLP, initial_state(MLP, member.random_seed)).train()
    optimizer = torch.optim.AdamW(twin.parameters(), lr=1e-2, weight_decay=0.1)
    x = ((table[member.train_rows] - 0.1) / 1.5).clamp(-CLIP, CLIP)[:, None]
    y = torch.from_numpy(member.train_labels).long()
    torch.nn.functional.cross_entropy(twin(x), y).backward()
    torch.nn.utils.clip_grad_norm_(twin.parameters(), 0.5)
    optimizer.step()
    for name, parameter in twin.named_parameters():
        assert_close(trained.state[name], parameter.detach(), rtol=1e-4, atol=1e-5)


def test_several_steps_equal_plain_pytorch_over_the_same_batches(table):
    member = make_member(table, n_train=96)
    plan = TrainingPlan(epochs=3, batch_size=96, learning_rate=1e-2, schedule="cosine")
    trained = train(MLP, table, [member], plan)[0]
    twin = extract_twin(MLP, initial_state(MLP, member.random_seed)).train()
    optimizer = torch.optim.AdamW(twin.parameters(), lr=1e-2, weight_decay=plan.weight_decay)
    x = ((table[member.train_rows] - 0.1) / 1.5)[:, None]
    y = torch.from_numpy(member.train_labels).long()
    for epoch in range(trained.best_epoch):
        optimizer.param_groups[0]["lr"] = 1e-2 * 0.5 * (1 + np.cos(np.pi * epoch / 3))
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(twin(x), y).backward()
        torch.nn.utils.clip_grad_norm_(twin.parameters(), plan.clip_norm)
        optimizer.step()
    for name, parameter in twin.named_parameters():
        assert_close(trained.state[name], parameter.detach(), rtol=1e-3, atol=1e-4)


def test_the_best_state_is_a_true_copy_of_the_best_epoch(table):
    member = make_member(table)
    plan = TrainingPlan(epochs=12, batch_size=16, learning_rate=0.05, schedule="constant",
                        patience=12)  # fmt: skip
    log = Log()
    trained = train(MLP, table, [member], plan, watcher=log)[0]
    losses = [report["members"][0]["validation_loss"] for report in log.reports]
    assert trained.best_epoch == int(np.argmin(losses)) + 1 < len(losses)
    forward = PackedForward.build(MLP, table, window_bars=1, centers=[member.center],
                                  scales=[member.scale], clip=CLIP, precision=FLOAT32)  # fmt: skip
    logits = predict_outputs(forward, _stacked(MLP, trained), [member.validation_rows])[0]
    again = torch.nn.functional.cross_entropy(
        torch.from_numpy(logits), torch.from_numpy(member.validation_labels).long()
    )
    assert again.item() == pytest.approx(min(losses), rel=1e-5)


def test_a_member_that_no_longer_improves_stops_and_the_others_go_on(table):
    random = np.random.default_rng(0)
    hopeless = make_member(
        table, "NOISE", validation_labels=random.integers(0, 3, 150).astype(np.int8)
    )
    plan = TrainingPlan(epochs=15, batch_size=32, learning_rate=0.01, patience=3)
    log = Log()
    train(MLP, table, [hopeless, make_member(table, "GOOD")], plan, watcher=log)
    names = [[line["name"] for line in report["members"]] for report in log.reports]
    assert len(names[0]) == 2
    assert names[-1] == ["GOOD/fold0/seed0"]
    assert len([n for n in names if "NOISE/fold0/seed0" in n]) < 15


def test_two_members_of_one_name_are_refused(table):
    with pytest.raises(TrainingError, match="two members have the same symbol, fold and seed"):
        train(MLP, table, [make_member(table), make_member(table, learning_rate=0.1)])


def test_the_last_batch_of_an_epoch_is_filled_up(table):
    log = Log()
    train(MLP, table, [make_member(table, n_train=70)], TrainingPlan(epochs=2, batch_size=32),
           watcher=log)  # fmt: skip
    assert log.steps == 2 * 3


@pytest.mark.parametrize("schedule", ["cosine", "plateau"])
def test_training_goes_on_from_a_checkpoint_bit_for_bit(schedule, table, tmp_path):
    members = [make_member(table, "A", n_train=120), make_member(table, "B", seed=1)]
    plan = TrainingPlan(epochs=8, batch_size=32, learning_rate=0.02, patience=2,
                        schedule=schedule, plateau_patience=1)  # fmt: skip
    whole = train(DROPPED, table, members, plan)

    class CutOff(Log):
        def epoch(self, report):
            super().epoch(report)
            if report["epoch"] == 3:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(DROPPED, table, members, plan, watcher=CutOff(), checkpoints=tmp_path / "c")
    log = Log()
    resumed = train(DROPPED, table, members, plan, watcher=log, checkpoints=tmp_path / "c")
    assert log.reports[0]["epoch"] == 3
    for left, right in zip(whole, resumed, strict=True):
        assert_same_state(left.state, right.state)
        assert left.best_epoch == right.best_epoch


def test_a_checkpoint_keeps_which_walk_the_layers_took(table, tmp_path, monkeypatch):
    took = ["gru 999 float32"]  # no layer is so wide, so that all walk batched here
    asked = []

    def chosen(architecture, *, earlier, **_):
        asked.append(earlier)
        return replace(architecture, walks=WalkChoice.named(took)), []

    monkeypatch.setattr("walkforge.training._trainer.with_fast_walks", chosen)
    for _ in range(2):
        train(GRU, table, [make_member(table)], checkpoints=tmp_path / "c")
    assert asked == [None, took]


def test_a_checkpoint_of_other_members_is_refused(table, tmp_path):
    train(MLP, table, [make_member(table, "A")], checkpoints=tmp_path / "c")
    with pytest.raises(TrainingError, match="Start a new run"):
        train(MLP, table, [make_member(table, "B")], checkpoints=tmp_path / "c")


def test_a_damaged_checkpoint_is_refused(table, tmp_path):
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "epoch_00001.safetensors").write_bytes(b"not a checkpoint")
    with pytest.raises(TrainingError, match="not a readable checkpoint"):
        train(MLP, table, [make_member(table, "A")], checkpoints=tmp_path / "c")


def test_one_class_only_is_refused_by_name(table):
    with pytest.raises(TrainingError, match=r"A/fold0/seed0.*one class"):
        make_member(table, train_labels=np.ones(300, dtype=np.int8))


def test_focal_loss_without_focus_is_cross_entropy_and_focus_favours_hard_rows():
    logits = torch.randn(2, 50, 3)
    labels = torch.randint(0, 3, (2, 50))
    ones = torch.ones(2, 3)
    plain = classification_loss(logits, labels, ones, focal_gamma=None, label_smoothing=0.1)
    expected = torch.nn.functional.cross_entropy(
        logits.view(-1, 3), labels.view(-1), label_smoothing=0.1, reduction="none"
    )
    assert_close(plain.view(-1), expected)
    same = classification_loss(logits, labels, ones, focal_gamma=0.0, label_smoothing=0.1)
    assert_close(same, plain)
    sure = torch.tensor([[[5.0, 0.0, 0.0], [0.0, 5.0, 0.0]]])
    focal = classification_loss(
        sure, torch.tensor([[0, 0]]), ones[:1], focal_gamma=2.0, label_smoothing=0.0
    )[0]
    cross = classification_loss(
        sure, torch.tensor([[0, 0]]), ones[:1], focal_gamma=None, label_smoothing=0.0
    )[0]
    assert focal[0] / cross[0] < 1e-3 < 0.9 < focal[1] / cross[1]


def test_a_focal_loss_of_less_than_one_stays_finite_where_nothing_is_in_doubt():
    logits = torch.tensor([[[60.0, 0.0, 0.0]]], requires_grad=True)
    loss = classification_loss(
        logits, torch.tensor([[0]]), torch.ones(1, 3), focal_gamma=0.5, label_smoothing=0.1
    )
    loss.sum().backward()
    assert logits.grad.isfinite().all()


def test_two_checkpoints_stay_and_a_damaged_newest_one_gives_way_to_the_other(table, tmp_path):
    members = [make_member(table)]
    whole = train(DROPPED, table, members)

    class CutOff(Log):
        def epoch(self, report):
            super().epoch(report)
            if report["epoch"] == 4:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(DROPPED, table, members, watcher=CutOff(), checkpoints=tmp_path)
    names = [path.name for path in sorted(tmp_path.iterdir())]
    assert names == ["epoch_00002.safetensors", "epoch_00003.safetensors"]
    newest = tmp_path / names[1]
    newest.write_bytes(newest.read_bytes()[:-100])
    log = Log()
    resumed = train(DROPPED, table, members, watcher=log, checkpoints=tmp_path)
    assert log.reports[0]["epoch"] == 3
    assert any("not a readable checkpoint" in n and "going on from epoch_00002" in n
               for n in log.notes)  # fmt: skip
    assert_same_state(whole[0].state, resumed[0].state)


def test_balanced_class_weights_make_every_class_count_alike(table):
    labels = np.r_[np.zeros(280), np.ones(10), np.full(10, 2)].astype(np.int8)
    member = make_member(table, train_labels=labels)
    plan = TrainingPlan(epochs=1, batch_size=300, learning_rate=0.0, class_weights="balanced")
    log = Log()
    train(MLP, table, [member], plan, watcher=log)
    twin = extract_twin(MLP, initial_state(MLP, member.random_seed))
    x = ((table[member.train_rows] - 0.1) / 1.5)[:, None]
    counts = torch.tensor([280.0, 10.0, 10.0])
    weighted = torch.nn.functional.cross_entropy(
        twin(x), torch.from_numpy(labels).long(), weight=100.0 / counts, reduction="none"
    ).mean()
    assert log.reports[0]["members"][0]["train_loss"] == pytest.approx(weighted.item(), rel=1e-4)


def test_one_row_predicts_as_it_does_inside_a_batch(table):
    members = [make_member(table), make_member(table, "B", seed=1)]
    trained = train(GRU, table, members)
    forward = PackedForward.build(GRU, table, window_bars=4, centers=[m.center for m in members],
                                  scales=[m.scale for m in members], clip=CLIP,
                                  precision=FLOAT32)  # fmt: skip
    rows = [np.arange(20, 90), np.arange(30, 60)]
    many = predict_outputs(forward, _stacked(GRU, *trained), rows)
    assert [len(part) for part in many] == [70, 30]
    one = predict_outputs(forward, _stacked(GRU, trained[0]), [rows[0][17:18]])[0]
    np.testing.assert_allclose(one[0], many[0][17], atol=1e-6)


def test_layout_keeps_parameters_before_buffers():
    layout = Layout.of(BATCH_NORM)
    assert layout.n_parameters == sum(p.numel() for p in BATCH_NORM.twin().parameters())
    assert layout.n_numbers == layout.n_parameters + 2 * 16


def _trials(table) -> list:
    """Return four trials of two members each, which differ in rate and decay."""
    rates = {1: (3e-3, 1e-4), 2: (1e-3, 1e-1), 3: (1e-2, 0.0), 4: (3e-4, 1e-2)}
    return [
        make_member(table, symbol, seed=5, n_train=n_train, trial=trial, learning_rate=rate,
                    weight_decay=decay)
        for trial, (rate, decay) in rates.items()
        for symbol, n_train in (("A", 200), ("B", 300))
    ]  # fmt: skip


def _stopping(trial, epoch):
    """Return a rule that stops a trial's members after an epoch, and says who was left there."""
    told = []

    def prune(report):
        told.append([line["name"] for line in report["members"]])
        if report["epoch"] != epoch:
            return ()
        return [name for name in told[-1] if name.endswith(f"/trial{trial}")]

    return prune, told


def test_trials_of_a_member_differ_by_their_settings_alone(table):
    same = [make_member(table, trial=trial) for trial in (0, 1, 2)]
    assert [one.name for one in same] == [
        "A/fold0/seed0", "A/fold0/seed0/trial1", "A/fold0/seed0/trial2"
    ]  # fmt: skip
    found = train(DROPPED, table, same)
    assert_same_state(found[0].state, found[1].state)
    assert_same_state(found[0].state, found[2].state)
    other = train(DROPPED, table, [same[0], make_member(table, trial=1, weight_decay=0.5)])[1]
    assert not torch.equal(next(iter(other.state.values())), next(iter(found[0].state.values())))
    with pytest.raises(TrainingError, match="in one trial; expected each once"):
        train(DROPPED, table, [same[1], make_member(table, trial=1, weight_decay=0.5)])


@pytest.mark.parametrize("architecture", [DROPPED, BATCH_NORM, GRU], ids=str)
def test_members_that_stay_are_bit_identical_whoever_is_pruned(architecture, table):
    members = _trials(table)
    prune, told = _stopping(trial=2, epoch=2)
    whole = train(architecture, table, members, members_at_once=1)
    pruned = train(architecture, table, members, members_at_once=1, prune=prune)
    assert [len(names) for names in told] == [8, 8, 6, 6]
    for member, before, after in zip(members, whole, pruned, strict=True):
        if member.trial == 2:
            assert after.best_epoch <= 2
        else:
            assert after.best_epoch == before.best_epoch
            assert_same_state(before.state, after.state)
    together = train(architecture, table, members, prune=_stopping(trial=2, epoch=2)[0])
    for before, after in zip(whole, together, strict=True):
        if before.member.trial != 2:
            assert_same_state(before.state, after.state, rtol=1e-4, atol=1e-5)


def test_the_best_state_so_far_of_a_pruned_member_counts(table):
    members = _trials(table)
    plan = TrainingPlan(epochs=4, batch_size=32, schedule="constant", patience=4)
    pruned = train(MLP, table, members, plan, prune=_stopping(trial=1, epoch=2)[0])
    short = train(MLP, table, members, TrainingPlan(epochs=2, batch_size=32, schedule="constant"))
    for before, after in zip(short[:2], pruned[:2], strict=True):
        assert after.best_epoch == before.best_epoch
        assert after.best_validation_loss == before.best_validation_loss
        assert_same_state(before.state, after.state)


def test_who_was_pruned_stays_so_when_training_goes_on_from_a_checkpoint(table, tmp_path):
    members = _trials(table)
    whole = train(DROPPED, table, members, prune=_stopping(trial=3, epoch=1)[0])

    class CutOff(Log):
        def epoch(self, report):
            super().epoch(report)
            if report["epoch"] == 3:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(DROPPED, table, members, prune=_stopping(trial=3, epoch=1)[0],
              watcher=CutOff(), checkpoints=tmp_path)  # fmt: skip
    prune, told = _stopping(trial=3, epoch=1)
    resumed = train(DROPPED, table, members, prune=prune, checkpoints=tmp_path)
    assert [len(names) for names in told] == [6, 6]
    for before, after in zip(whole, resumed, strict=True):
        assert after.best_epoch == before.best_epoch
        assert_same_state(before.state, after.state)


def test_all_members_may_be_pruned_and_strangers_may_not(table):
    members = [make_member(table), make_member(table, "B")]
    log = Log()
    found = train(MLP, table, members, watcher=log,
                  prune=lambda report: [line["name"] for line in report["members"]])  # fmt: skip
    assert len(log.reports) == 1
    assert [one.best_epoch for one in found] == [1, 1]
    with pytest.raises(TrainingError, match="prune names C/fold0/seed0, which is no member"):
        train(MLP, table, members, prune=lambda report: ["C/fold0/seed0"])


def test_a_pack_that_does_not_fit_memory_is_refused_in_words(table, monkeypatch):
    def full(*_, **__):
        raise torch.OutOfMemoryError("no memory left")

    monkeypatch.setattr("walkforge.training._trainer.Batches", full)
    with pytest.raises(TrainingError, match="not enough memory to begin: 1 members"):
        train(MLP, table, [make_member(table)])
