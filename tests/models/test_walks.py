"""Which walk a recurrent layer takes: chosen by measuring, told with its reason, and heeded."""

import dataclasses

import pytest
import torch

from walkforge.models import (
    Bilstm,
    CnnLstm,
    Gru,
    Layout,
    Mlp,
    _fast_walks,
    _walks,
    initial_state,
    resident_walks,
    with_fast_walks,
)
from walkforge.models._gru_layer import BATCHED_GRU
from walkforge.models._lstm_layer import BATCHED_LSTM
from walkforge.models._walks import Recurrence, WalkChoice

SHAPES = {"n_features": 3, "window_bars": 6}
NETWORKS = {
    "gru": Gru(**SHAPES, n_classes=3, hidden=5, layers=2),
    "cnn_lstm": CnnLstm(**SHAPES, n_classes=3, channels=(4,), hidden=5),
    "bilstm": Bilstm(**SHAPES, horizon_bars=2, encoder=(6, 5), decoder_hidden=4),
}
CUDA = torch.device("cuda", 0)
PLACE = {"n_members": 4, "rows": 16, "dtype": torch.bfloat16}


@pytest.fixture
def measured(monkeypatch):
    """Pretend to a GPU on which the resident walk is faster for all but hidden 5."""
    asked = []

    def faster(kind, *, hidden, **shape):
        asked.append((kind, hidden, shape["lanes"], shape["steps"], shape["rows"]))
        return hidden != 5, f"{kind} {hidden}: measured"

    monkeypatch.setattr(_fast_walks, "resident_supports", lambda kind, **_: (True, "fits"))
    monkeypatch.setattr(_fast_walks, "faster_walk", faster)
    return asked


def test_every_layer_is_measured_once_at_the_size_of_a_step(measured):
    found, reasons = with_fast_walks(NETWORKS["bilstm"], device=CUDA, **PLACE)
    assert measured == [("lstm", 6, 8, 6, 16), ("lstm", 5, 8, 6, 16), ("lstm", 4, 4, 2, 16)]
    assert reasons == ["lstm 6: measured", "lstm 5: measured", "lstm 4: measured"]
    assert found.walks.resident == {("lstm", 6, torch.bfloat16), ("lstm", 4, torch.bfloat16)}
    assert found == NETWORKS["bilstm"], "how it computes is nothing of what it is"
    assert Layout.of(found) is Layout.of(NETWORKS["bilstm"])


def test_layers_that_are_alike_are_measured_together(measured):
    with_fast_walks(NETWORKS["gru"], device=CUDA, **PLACE)
    assert measured == [("gru", 5, 4, 6, 16)]


@pytest.mark.parametrize(
    "earlier", [[], ["lstm 4 bfloat16"], ["lstm 4 bfloat16", "lstm 5 bfloat16"]]
)
def test_a_training_that_goes_on_walks_as_it_did_before(measured, earlier):
    found, reasons = with_fast_walks(NETWORKS["bilstm"], device=CUDA, **PLACE, earlier=earlier)
    assert not measured
    assert resident_walks(found) == earlier
    assert len(reasons) == 3
    assert sum(reason == "resident LSTM walk, as before" for reason in reasons) == len(earlier)


def test_a_choice_made_for_another_type_is_not_taken_over(measured):
    found, _ = with_fast_walks(NETWORKS["gru"], device=CUDA, **PLACE, earlier=["gru 5 float32"])
    assert resident_walks(found) == []


def test_what_does_not_fit_is_not_measured_and_says_why(monkeypatch):
    monkeypatch.setattr(
        _fast_walks, "resident_supports", lambda kind, **_: (False, "hidden 512 is too wide")
    )
    monkeypatch.setattr(_fast_walks, "faster_walk", None)
    found, reasons = with_fast_walks(NETWORKS["gru"], device=CUDA, **PLACE)
    assert reasons == ["hidden 512 is too wide"]
    assert found.walks.resident == frozenset()


@pytest.mark.parametrize("network", [*NETWORKS.values(), Mlp(**SHAPES, n_classes=3)], ids=repr)
def test_on_a_cpu_nothing_is_measured_and_nothing_said(network):
    found, reasons = with_fast_walks(network, device=torch.device("cpu"), **PLACE)
    assert found is network
    assert reasons == []


@pytest.mark.parametrize("name", NETWORKS)
def test_a_layer_takes_the_walk_that_was_chosen_and_no_other(name, monkeypatch):
    """In float64, which no CPU library takes over, through walks that count their calls."""
    network = NETWORKS[name]
    batched = {"lstm": BATCHED_LSTM, "gru": BATCHED_GRU}
    calls = []

    def counted(kind, walk):
        def count(*arguments):
            calls.append(kind)
            return walk(*arguments)

        return count

    monkeypatch.setattr(
        _walks,
        "RESIDENT",
        {kind: tuple(counted(kind, walk) for walk in pair) for kind, pair in batched.items()},
    )
    drawn = {key: value.double() for key, value in initial_state(network, seed=1).items()}
    state = {key: torch.stack([value, 2 * value]) for key, value in drawn.items()}
    x = torch.randn(2, 7, 6, 3, dtype=torch.float64, requires_grad=True)
    plain = network.forward(state, x, dropout=None)
    assert calls == []
    widths = {(layer.kind, layer.hidden, torch.float64) for layer in network.recurrences()}
    chosen = dataclasses.replace(network, walks=WalkChoice(frozenset(widths)))
    found = chosen.forward(state, x, dropout=None)
    assert torch.equal(found, plain)
    assert len(calls) == len(network.recurrences())
    found.sum().backward()
    assert len(calls) == 2 * len(network.recurrences()), "there and back"
    other_type = WalkChoice(frozenset((kind, width, torch.float32) for kind, width, _ in widths))
    calls.clear()
    dataclasses.replace(network, walks=other_type).forward(state, x, dropout=None)
    assert calls == []


def test_recurrences_name_every_layer():
    assert NETWORKS["bilstm"].recurrences() == (
        Recurrence("lstm", 2, 6, 6),
        Recurrence("lstm", 2, 6, 5),
        Recurrence("lstm", 1, 2, 4),
    )
    dense = dataclasses.replace(NETWORKS["bilstm"], decoder="dense", bidirectional=False)
    assert dense.recurrences() == (Recurrence("lstm", 1, 6, 6), Recurrence("lstm", 1, 6, 5))
