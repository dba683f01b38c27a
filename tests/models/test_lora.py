"""Low-rank factors: nothing changes before they learn, and nothing is left of them once merged."""

import copy
import pickle

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.testing import assert_close

from models.gpts import TINY, batch, build, loud
from walkforge.base import TrainingError
from walkforge.models import (
    KvCache,
    add_lora,
    gpt_parameters,
    learned_parameters_text,
    merge_lora,
)

RANK = 3
KINDS = pytest.mark.parametrize(
    "options", [{}, {"activation": "swiglu", "tied": False, "n_classes": 3}], ids=str
)


def adapted(learned=True, rank=RANK, **options):
    """Return a model with factors, as if they had learned something."""
    model = loud(build(**options))
    add_lora(model, rank=rank, seed=1)
    if learned:
        draw = torch.Generator().manual_seed(4)
        for name, one in model.named_parameters():
            if name.endswith(".up"):
                one.data.copy_(0.2 * torch.randn(one.shape, generator=draw))
    return model


def factors(model):
    return {name: one for name, one in model.named_parameters() if one.requires_grad}


def gradients_of_a_loss(model):
    tokens_BT, *rest = batch()
    logits_BTV = model.train()(tokens_BT, *rest)
    functional.cross_entropy(
        logits_BTV[:, :-1].flatten(0, 1), tokens_BT[:, 1:].flatten()
    ).backward()
    return {name: one.grad for name, one in model.named_parameters() if one.grad is not None}


@KINDS
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_before_the_first_step_no_bit_of_the_outputs_has_changed(options, dtype):
    model = loud(build(**options))
    with torch.no_grad(), torch.autocast("cpu", dtype, enabled=dtype == torch.bfloat16):
        expected = model(*batch())
        add_lora(model, rank=RANK, seed=1)
        found = model(*batch())

    assert torch.equal(found, expected)


@KINDS
def test_every_matrix_of_every_block_has_two_factors_which_alone_learn(options):
    model = adapted(**options)
    width, inner = TINY.d_model, model.shape.inner_width
    opened = 2 * inner if model.shape.activation == "swiglu" else inner
    sides = [(width, 3 * width), (width, width), (width, opened), (inner, width)]

    assert sum(one.numel() for one in factors(model).values()) == TINY.layers * sum(
        RANK * (i + o) for i, o in sides
    )
    assert {name.rsplit(".", 1)[1] for name in factors(model)} == {"down", "up"}
    assert gradients_of_a_loss(model).keys() == factors(model).keys()


@KINDS
def test_a_matrix_with_factors_is_the_matrix_plus_twice_their_product(options):
    model = adapted(**options).double()
    by_hand = build(**options).double()
    state = model.state_dict()
    with torch.no_grad():
        for name, one in by_hand.named_parameters():
            path = name.removesuffix(".weight")
            if f"{path}.up" in state:
                product = 2 * state[f"{path}.up"] @ state[f"{path}.down"]
                one.copy_(state[f"{path}.linear.weight"] + product)
            else:
                one.copy_(state[name])
        assert_close(model(*batch()), by_hand(*batch()), rtol=1e-12, atol=1e-12)
        assert not torch.allclose(model(*batch()), adapted(False, **options).double()(*batch()))


@KINDS
def test_a_merged_model_is_an_ordinary_one_that_says_the_same(options):
    model, plain = adapted(**options), build(**options)
    with torch.no_grad():
        expected = model(*batch())
        merge_lora(model)
        assert_close(model(*batch()), expected, rtol=1e-5, atol=1e-5)

    assert list(model.state_dict()) == list(plain.state_dict())
    assert [type(one) for one in model.modules()] == [type(one) for one in plain.modules()]
    assert all(one.requires_grad for one in model.parameters())


def test_first_numbers_follow_from_the_seed_and_leave_the_random_state_of_others_alone():
    torch.manual_seed(7)
    expected = torch.rand(3)
    one, same, other = build(), build(), build()
    torch.manual_seed(7)
    for model, seed in ((one, 5), (same, 5), (other, 6)):
        add_lora(model, rank=RANK, seed=seed)

    assert torch.equal(torch.rand(3), expected)
    downs = [
        [w for name, w in factors(m).items() if name.endswith("down")] for m in (one, same, other)
    ]
    assert all(torch.equal(a, b) for a, b in zip(downs[0], downs[1], strict=True))
    assert not any(torch.equal(a, b) for a, b in zip(downs[0], downs[2], strict=True))
    # Inputs of spread 1 lead to numbers of spread 1 between the factors.
    norms = [w.norm(dim=1).mean().item() for w in downs[0]]
    assert norms == pytest.approx([1] * len(norms), rel=0.4)


def test_tokens_read_one_by_one_through_a_cache_come_to_those_of_a_full_pass():
    model = adapted()
    tokens_BT, *rest = batch()
    with torch.no_grad():
        cache = KvCache(model.shape)
        steps = [model.hidden(one_B1, *rest, cache) for one_B1 in tokens_BT.split(1, dim=1)]
        assert_close(torch.cat(steps, dim=1), model.hidden(tokens_BT, *rest), rtol=1e-4, atol=1e-4)


def test_blocks_computed_anew_have_the_same_gradients():
    kept, anew = adapted(dropout=0.0), adapted(dropout=0.0)
    anew.gradient_checkpointing = True
    expected, found = gradients_of_a_loss(kept), gradients_of_a_loss(anew)

    assert expected.keys() == found.keys()
    assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_a_model_sent_to_another_process_arrives_with_its_factors():
    model = adapted()
    skeleton = pickle.loads(pickle.dumps(copy.deepcopy(model).to("meta")))
    arrived = skeleton.to_empty(device="cpu")
    arrived.load_state_dict(model.state_dict())

    assert factors(arrived).keys() == factors(model).keys()
    with torch.no_grad():
        assert torch.equal(arrived(*batch()), model(*batch()))


@pytest.mark.filterwarnings("ignore")  # of the compiler, about itself
def test_a_pass_is_one_graph_for_the_compiler():
    model = adapted()
    traced = torch.compile(model, backend="eager", fullgraph=True)
    with torch.no_grad():
        assert torch.equal(traced(*batch()), model(*batch()))


def test_the_line_for_the_log_counts_what_learns():
    model = build()
    every = sum(gpt_parameters(TINY).values())
    assert learned_parameters_text(model) == f"{every:,} of {every:,} parameters learn (100.0%)"
    add_lora(model, rank=1, seed=0)
    # Of 64, 32, 56 and 56 in each of three blocks.
    assert learned_parameters_text(model) == f"624 of {every + 624:,} parameters learn (7.6%)"


@pytest.mark.parametrize("rank", [0, -1, 17])
def test_an_impossible_rank_is_refused_in_one_line_and_changes_nothing(rank):
    model = build()
    with pytest.raises(TrainingError, match=rf"rank is {rank}; expected 1 to 16") as error:
        add_lora(model, rank=rank, seed=0)

    assert "\n" not in str(error.value)
    assert all(one.requires_grad for one in model.parameters())


def test_factors_on_factors_and_merging_nothing_are_refused():
    with pytest.raises(TrainingError, match="has LoRA factors already"):
        add_lora(adapted(), rank=1, seed=0)
    with pytest.raises(TrainingError, match="no LoRA factors to merge"):
        merge_lora(build())


def test_the_largest_rank_can_become_any_matrix():
    model = adapted(rank=TINY.d_model)
    name = "blocks.0.attention.out"
    one = model.get_submodule(name)
    wanted = torch.randn(one.linear.weight.shape, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        difference = (wanted - one.linear.weight) / 2
        one.up.copy_(difference @ torch.linalg.inv(one.down))
    merge_lora(model)

    assert isinstance(model.get_submodule(name), nn.Linear)
    assert_close(model.get_submodule(name).weight, wanted, rtol=1e-3, atol=1e-3)
