"""The direction head learns what a hidden state shows, and nothing where it shows nothing."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from training.token_markets import CONTEXT, FLOAT32, SHAPE, asset, build, noise, small_table
from walkforge.base import TrainingError
from walkforge.models import LEAST_PROBABILITY, MarketGpt
from walkforge.training import (
    DirectionHead,
    TokenTable,
    fit_direction_head,
    last_hidden,
    with_direction_head,
)

CLASSES = 3
MODEL = replace(SHAPE, n_assets=1, n_categories=1)


def hidden(model, table, rows, most_tokens=CONTEXT):
    return last_hidden(model, table, np.asarray(rows), most_tokens=most_tokens, precision=FLOAT32)


def log_loss(probabilities, labels):
    return -np.log(probabilities[np.arange(len(labels)), labels]).mean()


def said(head, states):
    """Return the probabilities of a head."""
    scores = states.astype(np.float64) @ head.weight.T + head.bias
    shares = np.exp(scores - scores.max(axis=1, keepdims=True))
    return shares / shares.sum(axis=1, keepdims=True)


def prior_loss(labels_train, labels):
    shares = np.bincount(labels_train, minlength=CLASSES) / len(labels_train)
    return log_loss(np.tile(shares, (len(labels), 1)), labels)


def market(n, seed=1):
    """Return a market of noise, its rows' hidden states in an untrained model, and its tokens."""
    tokens = noise(n, seed)
    table = TokenTable.of([asset(tokens)])
    return hidden(build(MODEL), table, np.arange(n), most_tokens=4), tokens


# Reading.


def test_a_state_is_that_of_the_last_token_of_a_plain_pass_over_the_prompt():
    table, model = small_table(), build()
    rows = np.array([200, 3, 61 + 160, 120, 160])  # in no order, at a run's begin and inside
    found = hidden(model, table, rows, most_tokens=5)
    model.eval()
    for row, state in zip(rows, found, strict=True):
        begin = max(table.run_first[row], row - 4)
        prompt = torch.from_numpy(table.tokens[begin : row + 1].astype(np.int64))[None]
        which = [torch.tensor([int(column[row])]) for column in (table.asset, table.category)]
        with torch.no_grad():
            slow = model.hidden(prompt, *which)[0, -1]
        np.testing.assert_allclose(state, slow.numpy(), rtol=1e-5, atol=1e-6)
    assert found.dtype == np.float32


def test_which_rows_are_asked_beside_a_row_does_not_matter():
    table, model = small_table(), build()
    rows = np.flatnonzero(table.run_first >= 0)
    together = hidden(model, table, rows)
    mixed = np.random.default_rng(0).permutation(len(rows))

    np.testing.assert_allclose(hidden(model, table, rows[mixed]), together[mixed], atol=1e-5)
    for place in (0, 4, 100, len(rows) - 1):
        alone = hidden(model, table, rows[[place]])
        np.testing.assert_allclose(alone[0], together[place], atol=1e-5)


def test_tokens_after_a_row_before_its_run_and_beyond_the_prompt_are_not_read():
    table, model = small_table(), build()
    row, most_tokens = 160 + 45, 8  # its run begins at 160 + 40, behind a hole
    assert row - table.run_first[row] == 5
    read = np.zeros(len(table.tokens), bool)
    read[row - 5 : row + 1] = True
    poisoned = replace(
        table, tokens=np.where(read, table.tokens, 6 - table.tokens).astype(np.uint16)
    )
    within = replace(table, tokens=np.where(read, 6 - table.tokens, table.tokens).astype(np.uint16))
    expected = hidden(model, table, [row], most_tokens)

    assert np.array_equal(hidden(model, poisoned, [row], most_tokens), expected)
    assert not np.array_equal(hidden(model, within, [row], most_tokens), expected)
    # A shorter prompt reads the newest tokens.
    read[: row - 2] = False
    poisoned = replace(
        table, tokens=np.where(read, table.tokens, 6 - table.tokens).astype(np.uint16)
    )
    assert np.array_equal(hidden(model, poisoned, [row], 3), hidden(model, table, [row], 3))


def test_reading_drops_nothing_learns_nothing_and_leaves_the_model_in_its_mode():
    table, model = small_table(), build().train()
    one, other = (hidden(model, table, np.arange(20)) for _ in range(2))

    assert np.array_equal(one, other)
    assert model.training
    assert all(parameter.grad is None for parameter in model.parameters())
    assert len(hidden(model, table, np.array([], dtype=np.int64))) == 0


def reads_at_most(monkeypatch, n_rows):
    """Let the network find no memory for more rows than that; return what was tried."""
    read, tried = MarketGpt.hidden, []

    def read_or_fail(self, tokens_BT, *rest):
        tried.append(len(tokens_BT))
        if len(tokens_BT) > n_rows:
            raise torch.OutOfMemoryError("no memory")
        return read(self, tokens_BT, *rest)

    monkeypatch.setattr(MarketGpt, "hidden", read_or_fail)
    return tried


def test_where_memory_runs_out_fewer_rows_are_read_at_once_to_the_same_end(monkeypatch):
    table, model, rows = small_table(), build(), np.arange(20, 140)
    expected = hidden(model, table, rows)
    tried = reads_at_most(monkeypatch, 30)

    np.testing.assert_allclose(hidden(model, table, rows), expected, atol=1e-5)
    assert tried == [120, 60, 30, 30, 30, 30]


def test_one_prompt_that_does_not_fit_is_an_error_in_one_line(monkeypatch):
    reads_at_most(monkeypatch, 0)

    with pytest.raises(TrainingError, match="one prompt of 8 tokens") as error:
        hidden(build(), small_table(), [30])
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("row", "most_tokens", "words"),
    [(220, 4, "row 220 has no token"), (30, 0, "is 0; expected 1 to"), (30, 9, "the context, 8")],
)
def test_what_cannot_be_read_is_refused(row, most_tokens, words):
    with pytest.raises(TrainingError, match=words):
        hidden(build(), small_table(), [30, row], most_tokens)


# Learning.


def test_what_the_last_token_tells_is_learned_and_holds_on_rows_not_learned_from():
    states, tokens = market(1600)
    flipped = np.random.default_rng(3).random(1600) < 0.1
    labels = np.where(flipped, noise(1600, 9, CLASSES), tokens % CLASSES)
    head = fit_direction_head(
        states[:800], labels[:800], states[800:1200], labels[800:1200], n_classes=CLASSES
    )
    found = log_loss(said(head, states[1200:]), labels[1200:])
    # Nine times of ten the token tells, else all classes are alike.
    least = -(0.9 + 0.1 / 3) * np.log(0.9 + 0.1 / 3) - 2 * 0.1 / 3 * np.log(0.1 / 3)

    assert found < least + 0.1 < 0.5 * prior_loss(labels[:800], labels[1200:])
    expected = log_loss(said(head, states[800:1200]), labels[800:1200])
    assert head.validation_loss == pytest.approx(expected, rel=1e-4)


def test_noise_is_told_no_better_than_by_the_prior_and_not_much_worse():
    states, _ = market(4200)
    labels = np.random.default_rng(5).choice(CLASSES, 4200, p=[0.25, 0.4, 0.35])
    head = fit_direction_head(
        states[:600], labels[:600], states[600:1200], labels[600:1200], n_classes=CLASSES
    )
    gain = prior_loss(labels[:600], labels[1200:]) - log_loss(
        said(head, states[1200:]), labels[1200:]
    )

    assert abs(gain) < 0.005
    assert head.strength >= 1.0


def test_a_head_is_chosen_by_validation_and_not_by_training():
    states, tokens = market(600)
    labels = tokens % CLASSES
    turned = (labels + 1) % CLASSES
    right = fit_direction_head(states[:300], labels[:300], states[300:], labels[300:], n_classes=3)
    wrong = fit_direction_head(states[:300], labels[:300], states[300:], turned[300:], n_classes=3)

    assert right.strength < wrong.strength == 10.0


def test_the_same_rows_make_the_same_head():
    states, tokens = market(500)
    labels = (tokens % CLASSES).astype(np.int8)
    one, other = (
        fit_direction_head(states[:300], labels[:300], states[300:], labels[300:], n_classes=3)
        for _ in range(2)
    )

    assert np.array_equal(one.weight, other.weight)
    assert np.array_equal(one.bias, other.bias)
    assert one.weight.dtype == one.bias.dtype == np.float32


def test_units_of_the_states_do_not_matter_and_constant_columns_are_harmless():
    states, tokens = market(600)
    labels = tokens % CLASSES
    scaled = states * np.geomspace(1e-3, 1e3, states.shape[1], dtype=np.float32) + 2
    scaled = np.hstack([scaled, np.full((600, 1), 3.3, np.float32), np.zeros((600, 1), np.float32)])
    plain, other = (
        fit_direction_head(x[:300], labels[:300], x[300:], labels[300:], n_classes=3)
        for x in (states, scaled)
    )

    np.testing.assert_allclose(said(other, scaled), said(plain, states), atol=0.01)
    assert not other.weight[:, -1].any()


@pytest.mark.parametrize("missing", [0, 1, 2])
def test_a_class_that_training_has_not_met_gets_little_and_not_nothing(missing):
    states, tokens = market(900)
    labels = tokens % CLASSES
    rows = np.flatnonzero(labels[:600] != missing)
    head = fit_direction_head(
        states[rows], labels[rows], states[600:], labels[600:], n_classes=CLASSES
    )
    # The validation rows hold it, so that sure heads lose.
    mean = said(head, states[rows].mean(axis=0, keepdims=True))[0]
    assert mean[missing] == pytest.approx(LEAST_PROBABILITY, rel=0.02)
    assert np.isfinite(head.bias).all()
    assert not head.weight[missing].any()
    assert np.isfinite(head.validation_loss)


def test_two_classes_are_told_as_well_as_three():
    states, tokens = market(900)
    labels = (tokens > 2).astype(np.int64)
    head = fit_direction_head(states[:600], labels[:600], states[600:], labels[600:], n_classes=2)

    assert head.weight.shape == (2, SHAPE.d_model)
    assert (said(head, states[600:]).argmax(axis=1) == labels[600:]).mean() > 0.95


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"labels_train": np.zeros(20, np.int64)}, "all 20 training rows .* have class 0"),
        ({"labels_train": np.full(20, 3)}, "training labels .* are 3 to 3; expected 0 to 2"),
        ({"labels_validation": np.full(20, -1)}, "validation labels .* are -1 to -1"),
        ({"hidden_validation": np.full((20, 4), np.nan, np.float32)}, "validation rows are not f"),
        (
            {"labels_train": np.zeros(0, int), "hidden_train": np.zeros((0, 4), np.float32)},
            "no training rows",
        ),
    ],
)
def test_rows_that_teach_nothing_are_refused_in_one_line(change, words):
    states, labels = np.ones((20, 4), np.float32), np.arange(20) % 3
    given = {"hidden_train": states, "labels_train": labels}
    given |= {"hidden_validation": states, "labels_validation": labels}
    with pytest.raises(TrainingError, match=words) as error:
        fit_direction_head(**(given | change), n_classes=3)
    assert "\n" not in str(error.value)


# In the model.


def some_head(width=SHAPE.d_model):
    draw = np.random.default_rng(2)
    weight, bias = (
        draw.normal(size=size).astype(np.float32) for size in ((CLASSES, width), CLASSES)
    )
    return DirectionHead(weight, bias, strength=1.0, validation_loss=1.0)


@pytest.mark.parametrize("n_classes", [0, 2])
def test_a_model_with_a_head_says_its_scores_and_is_otherwise_the_same(n_classes):
    model, head, table = build(replace(SHAPE, n_classes=n_classes)), some_head(), small_table()
    before = {name: one.clone() for name, one in model.state_dict().items()}
    found = with_direction_head(model, head)
    states = hidden(found, table, np.arange(30))
    with torch.no_grad():
        scores = found.class_logits(torch.from_numpy(states)).numpy()

    np.testing.assert_allclose(scores, states @ head.weight.T + head.bias, rtol=1e-5, atol=1e-6)
    assert np.array_equal(states, hidden(model, table, np.arange(30)))
    assert found.shape == replace(SHAPE, n_classes=CLASSES)
    assert found.state_dict().keys() == MarketGpt(found.shape).state_dict().keys()
    assert model.shape.n_classes == n_classes
    assert all(torch.equal(one, before[name]) for name, one in model.state_dict().items())


def test_a_model_with_a_head_shares_no_number_with_the_one_without():
    model, head = build(), some_head()
    found = with_direction_head(model, head)
    expected = {name: one.clone() for name, one in found.state_dict().items()}
    with torch.no_grad():
        for one in model.parameters():
            one.zero_()
    head.weight[:] = 0

    assert all(torch.equal(one, expected[name]) for name, one in found.state_dict().items())


def test_a_head_of_another_width_is_refused():
    with pytest.raises(TrainingError, match="reads 5 numbers; the model's states have 16"):
        with_direction_head(build(), some_head(5))
