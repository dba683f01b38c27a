"""MarketGPT reads only backwards, is what its formula says, and is as large as its shape says.

Shapes: B rows, T tokens, V vocabulary, D width, H heads, W width of a head, P pairs in a head
"""

import dataclasses
import math

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn import functional

from models.gpts import CASES, TINY, batch, build, loud
from walkforge.base import TrainingError, UsageError
from walkforge.models import GptShape, KvCache, MarketGpt, gpt_parameters, gpt_parameters_text
from walkforge.models._rotary import rotary_turns

KINDS = pytest.mark.parametrize(
    "options",
    [{}, {"activation": "swiglu"}, {"tied": False}, {"activation": "swiglu", "tied": False}],
    ids=str,
)


def next_token_loss(model, tokens_BT, assets_B, categories_B):
    logits_BTV = model(tokens_BT, assets_B, categories_B)
    return functional.cross_entropy(logits_BTV[:, :-1].flatten(0, 1), tokens_BT[:, 1:].flatten())


def gradients(model):
    return {name: parameter.grad for name, parameter in model.named_parameters()}


# What it computes.


def slow_turn(x_BHTW):
    """Numbers i and i + W/2 are one complex number, turned by the position times its speed."""
    n_tokens, width = x_BHTW.shape[-2:]
    near, far = x_BHTW.chunk(2, dim=-1)
    speeds = [10_000 ** (-2 * i / width) for i in range(width // 2)]
    speed_P = torch.tensor(speeds, dtype=x_BHTW.dtype)
    turn_TP = torch.polar(
        torch.ones(n_tokens, width // 2).to(x_BHTW),
        torch.arange(n_tokens).to(x_BHTW)[:, None] * speed_P,
    )
    turned = torch.complex(near.contiguous(), far.contiguous()) * turn_TP
    return torch.cat([turned.real, turned.imag], dim=-1)


def slow_attention(state, name, x_BTD, heads):
    n_rows, n_tokens, width = x_BTD.shape
    query, key, value = (
        (x_BTD @ matrix.T).view(n_rows, n_tokens, heads, width // heads).transpose(1, 2)
        for matrix in state[f"{name}.qkv.weight"].split(width)
    )
    scores_BHTT = slow_turn(query) @ slow_turn(key).transpose(2, 3) / math.sqrt(width // heads)
    future_TT = torch.arange(n_tokens)[None, :] > torch.arange(n_tokens)[:, None]
    weights_BHTT = scores_BHTT.masked_fill(future_TT, -math.inf).exp()
    weights_BHTT = weights_BHTT / weights_BHTT.sum(-1, keepdim=True)
    mixed_BTD = (weights_BHTT @ value).transpose(1, 2).reshape(n_rows, n_tokens, width)
    return mixed_BTD @ state[f"{name}.out.weight"].T


def slow_norm(state, name, x_BTD):
    return x_BTD / (x_BTD.square().mean(-1, keepdim=True) + 1e-6).sqrt() * state[f"{name}.weight"]


def slow_feed_forward(state, name, x_BTD, activation):
    wide = x_BTD @ state[f"{name}.up.weight"].T
    if activation == "gelu":
        bent = wide * 0.5 * (1 + torch.erf(wide / math.sqrt(2)))
    else:
        gate, value = wide.chunk(2, dim=-1)
        bent = gate / (1 + (-gate).exp()) * value
    return bent @ state[f"{name}.down.weight"].T


def slow_logits(model, tokens_BT, assets_B, categories_B):
    state, shape = model.state_dict(), model.shape
    row_BD = sum(
        state[f"{name}.table.weight"][rows_B] @ state[f"{name}.projection.weight"].T
        for name, rows_B in (("assets", assets_B), ("categories", categories_B))
    )
    h_BTD = state["tokens.weight"][tokens_BT] + row_BD[:, None]
    for place in range(shape.layers):
        name = f"blocks.{place}"
        x_BTD = slow_norm(state, f"{name}.attention_norm", h_BTD)
        h_BTD = h_BTD + slow_attention(state, f"{name}.attention", x_BTD, shape.heads)
        x_BTD = slow_norm(state, f"{name}.feed_forward_norm", h_BTD)
        h_BTD = h_BTD + slow_feed_forward(state, f"{name}.feed_forward", x_BTD, shape.activation)
    head_VD = state["tokens.weight" if shape.tied else "head.weight"]
    return slow_norm(state, "norm", h_BTD) @ head_VD.T


@KINDS
def test_logits_are_those_of_the_explicit_formula(options):
    model = loud(build(**options).double())
    rows = batch()
    found, expected = model(*rows), slow_logits(model, *rows)
    assert expected.std() > 0.3
    torch.testing.assert_close(found, expected, rtol=1e-11, atol=1e-11)
    single = loud(build(**options))
    torch.testing.assert_close(single(*rows).double(), expected, rtol=1e-4, atol=1e-4)


def test_attention_is_the_explicit_softmax():
    model = loud(build().double())
    seen = []
    attention = model.blocks[1].attention
    attention.register_forward_hook(lambda _, given, out: seen.append((given[0], out)))
    model(*batch())
    ((x_BTD, mixed_BTD),) = seen
    expected = slow_attention(model.state_dict(), "blocks.1.attention", x_BTD, TINY.heads)
    assert expected.std() > 0.1
    torch.testing.assert_close(mixed_BTD, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("precision", ["float64", "float32", "bfloat16"])
@pytest.mark.parametrize("changed", [0, 1, 6, 11])
@KINDS
def test_logits_before_a_changed_token_are_bit_equal(options, changed, precision):
    model = build(**options).to(getattr(torch, precision))
    tokens, assets, categories = batch()
    other = tokens.clone()
    other[:, changed] = (other[:, changed] + 1) % TINY.vocabulary
    before, after = model(tokens, assets, categories), model(other, assets, categories)
    assert torch.equal(before[:, :changed], after[:, :changed])
    assert (before[:, changed:] != after[:, changed:]).any(-1).all()


def test_a_prefix_has_the_logits_of_the_whole():
    model, (tokens, *sides) = build().double(), batch()
    whole = model(tokens, *sides)
    for n_tokens in range(1, TINY.context):
        part = model(tokens[:, :n_tokens], *sides)
        torch.testing.assert_close(part, whole[:, :n_tokens], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("side", ["asset", "category"])
def test_asset_and_category_speak_at_every_position(side):
    model, (tokens, assets, categories) = build(), batch()
    before = model(tokens, assets, categories)
    if side == "asset":
        assets = (assets + 1) % TINY.n_assets
    else:
        categories = (categories + 1) % TINY.n_categories
    assert (before != model(tokens, assets, categories)).any(-1).all()


def test_rows_of_a_batch_are_strangers():
    model, (tokens, assets, categories) = build().double(), batch()
    whole = model(tokens, assets, categories)
    others = [tokens.flip(0), assets.flip(0), categories.flip(0)]
    for mine, theirs in zip((tokens, assets, categories), others, strict=True):
        theirs[1] = mine[1]
    assert torch.equal(model(*others)[1], whole[1])  # same batch size: bit for bit
    alone = model(tokens[1:2], assets[1:2], categories[1:2])[0]
    torch.testing.assert_close(alone, whole[1], rtol=1e-12, atol=1e-12)


# Positions.


def scores_at(places):
    """Return the scores of one query and key, set at pairs of places of a model's attention."""
    model = loud(build(context=64).double())
    caught = []
    attend = functional.scaled_dot_product_attention

    def catch(query, key, value, **how):
        caught.append((query, key))
        return attend(query, key, value, **how)

    model.blocks[0].attention_norm = nn.Identity()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(functional, "scaled_dot_product_attention", catch)
        tokens = torch.full((1, 64), 7)  # the same token everywhere: only its place differs
        model(tokens, torch.zeros(1, dtype=torch.long), torch.zeros(1, dtype=torch.long))
    query_BHTW, key_BHTW = caught[0]
    scores_HTT = (query_BHTW @ key_BHTW.transpose(2, 3))[0]
    return [scores_HTT[:, late, early] for late, early in places]


@pytest.mark.parametrize("distance", [0, 1, 5, 31])
def test_attention_scores_know_distances_and_no_places(distance):
    first, *others = scores_at([(distance + start, start) for start in (0, 1, 17, 32)])
    for other in others:
        torch.testing.assert_close(other, first, rtol=1e-12, atol=1e-12)


def test_attention_scores_differ_between_distances():
    scores = torch.stack(scores_at([(distance, 0) for distance in range(64)]))
    assert torch.stack([column.unique() for column in scores.T]).shape == (TINY.heads, 64)


def test_positions_are_exact_in_sixteen_bits_too():
    """bfloat16 itself cannot tell position 300 from 301."""
    rough, fine = (torch.zeros(1, dtype=getattr(torch, name)) for name in ("bfloat16", "float64"))
    for found, exact in zip(
        *(rotary_turns(0, 512, 8, like) for like in (rough, fine)), strict=True
    ):
        assert found.dtype == torch.float32
        torch.testing.assert_close(found.double(), exact, rtol=0.0, atol=1e-4)


# Size.


@pytest.mark.parametrize("n_classes", [0, 3])
@pytest.mark.parametrize("shape", [TINY, *CASES.values()], ids=["tiny", *CASES])
@KINDS
def test_the_breakdown_counts_every_number_where_it_lies(shape, options, n_classes):
    shape = dataclasses.replace(shape, n_classes=n_classes, **options)
    with torch.device("meta"):
        model = MarketGpt(shape)
    marks = {
        "token_embedding": "tokens.", "asset_embedding": "assets.", "category_embedding":
        "categories.", "attention": ".attention.", "feed_forward": ".feed_forward.",
        "norms": "norm.", "head": "head.", "direction_head": "direction.",
    }  # fmt: skip
    counted = dict.fromkeys(marks, 0)
    for name, parameter in model.named_parameters():
        (part,) = (part for part, mark in marks.items() if mark in name)
        counted[part] += parameter.numel()
    assert gpt_parameters(shape) == {"positions": 0, **counted}
    assert sum(counted.values()) == sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize(
    ("case", "untied_millions", "tied_millions"), [("C", 5.25, 4.99), ("B", 27.30, 26.25),
    ("A", 91.36, 88.21)],
)  # fmt: skip
def test_the_three_cases_are_as_large_as_the_plan_expects(case, untied_millions, tied_millions):
    for tied, expected in ((False, untied_millions), (True, tied_millions)):
        shape = dataclasses.replace(CASES[case], tied=tied)
        assert round(sum(gpt_parameters(shape).values()) / 1e6, 2) == expected
        gated = dataclasses.replace(shape, activation="swiglu")
        assert sum(gpt_parameters(gated).values()) / 1e6 == pytest.approx(expected, rel=0.01)


def test_the_line_for_the_log_names_every_part():
    assert gpt_parameters_text(CASES["C"]) == (
        "4.99 million parameters: token embedding 262,144, asset embedding 4,416, category "
        "embedding 2,056, attention 1,572,864, feed forward 3,145,728, norms 3,328, head tied"
    )


# State.


def test_a_tied_head_is_the_token_embedding_itself():
    tied, untied = build(), build(tied=False)
    assert untied.state_dict().keys() - tied.state_dict().keys() == {"head.weight"}
    places = [tensor.data_ptr() for tensor in tied.state_dict().values()]
    assert len(places) == len(set(places))
    rows = batch()
    before = tied(*rows)
    with torch.no_grad():
        tied.tokens.weight[22] += 1.0  # 22 is read by no row up to the first that holds it
    assert (tied(*rows)[:, 0, 22] != before[:, 0, 22])[rows[0][:, 0] != 22].all()
    next_token_loss(tied, *rows).backward()
    never_read = sorted(set(range(TINY.vocabulary)) - set(rows[0].flatten().tolist()))
    # Through the embedding alone an unread token would learn nothing.
    assert all(tied.tokens.weight.grad[token].any() for token in never_read)


@pytest.mark.parametrize("n_classes", [0, 3])
@KINDS
def test_the_state_goes_through_safetensors_unchanged(options, n_classes, tmp_path):
    model = build(n_classes=n_classes, **options)
    save_file(model.state_dict(), tmp_path / "model.safetensors")
    again = build(seed=99, n_classes=n_classes, **options)
    again.load_state_dict(load_file(tmp_path / "model.safetensors"))
    rows = batch()
    assert torch.equal(model(*rows), again(*rows))


def test_a_shape_comes_back_from_its_plain_numbers():
    assert GptShape(**dataclasses.asdict(CASES["B"])) == CASES["B"]


def test_first_numbers_follow_the_seed():
    first, second, other = build(seed=1), build(seed=1), build(seed=2)
    pairs = list(zip(first.parameters(), second.parameters(), strict=True))
    assert all(torch.equal(a, b) for a, b in pairs)
    assert not torch.equal(first.tokens.weight, other.tokens.weight)


@torch.no_grad()
def test_a_deep_model_begins_calm():
    shape = dataclasses.replace(TINY, d_model=64, layers=8, d_ff=256, vocabulary=500)
    model, rows = build(shape), batch(shape, n_rows=32)
    for block in model.blocks:
        for weight in (block.attention.out.weight, block.feed_forward.down.weight):
            assert float(weight.std()) == pytest.approx(0.02 / 4, rel=0.1)
        for weight in (block.attention.qkv.weight, block.feed_forward.up.weight):
            assert float(weight.std()) == pytest.approx(0.02, rel=0.1)
    row_BD = model.assets(torch.arange(5))
    assert float(row_BD.std()) == pytest.approx(0.02, rel=0.5)  # as large as a token
    assert float(next_token_loss(model, *rows)) == pytest.approx(math.log(500), abs=0.1)


# Training.


@KINDS
def test_gradient_checkpointing_changes_no_bit_of_loss_and_gradients(options):
    plain, frugal = (build(dropout=0.3, **options).train() for _ in range(2))
    frugal.gradient_checkpointing = True
    passes = []
    frugal.blocks[0].register_forward_pre_hook(lambda *_: passes.append(1))
    losses = []
    for model in (plain, frugal):
        torch.manual_seed(4)
        losses.append(next_token_loss(model, *batch()))
        losses[-1].backward()
    assert torch.equal(*losses)
    assert len(passes) == 2  # once forwards, once more backwards
    for name, gradient in gradients(plain).items():
        assert torch.equal(gradient, gradients(frugal)[name]), name


def test_dropout_acts_in_training_alone():
    model, rows = build(dropout=0.5), batch()
    assert torch.equal(model(*rows), model(*rows))
    model.train()
    torch.manual_seed(1)
    first, second = model(*rows), model(*rows)
    torch.manual_seed(1)
    again = model(*rows)
    assert not torch.equal(first, second)
    assert torch.equal(first, again)


def test_dropout_stands_behind_the_embeddings_and_behind_every_part():
    model, dropped = build(dropout=0.5).train(), []
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.register_forward_hook(lambda *call: dropped.append(call[2]))
    model(*batch())
    assert len(dropped) == 1 + 2 * TINY.layers
    assert all(0.3 < (one == 0).float().mean() < 0.7 for one in dropped)


def test_what_depends_on_the_asset_is_learned():
    model = build(dropout=0.0).train()
    tokens = torch.arange(12).repeat(2, 1) * torch.tensor([[1], [2]]) % 23
    tokens[:, 0] = 0  # both begin alike; the second token is the asset's own
    assets, categories = torch.tensor([0, 1]), torch.tensor([0, 0])
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-2)
    for _ in range(100):
        loss = next_token_loss(model, tokens, assets, categories)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert float(loss.detach()) < 0.05
    with torch.no_grad():
        assert model(tokens, assets, categories)[:, 0].argmax(-1).tolist() == [1, 2]


@pytest.mark.parametrize(
    ("options", "frugal"), [({}, False), ({"activation": "swiglu", "tied": False}, True)], ids=str
)
def test_the_pass_compiles_into_one_graph(options, frugal):
    model, rows = build(dropout=0.0, **options).train(), batch()
    model.gradient_checkpointing = frugal
    next_token_loss(model, *rows).backward()
    expected = gradients(model)
    model.zero_grad()
    next_token_loss(torch.compile(model, fullgraph=True, backend="aot_eager"), *rows).backward()
    for name, gradient in gradients(model).items():
        torch.testing.assert_close(gradient, expected[name], rtol=1e-4, atol=1e-6)


@KINDS
def test_half_precision_comes_near(options):
    model, rows = build(dropout=0.0, **options).train(), batch()
    exact = model(*rows)
    with torch.autocast("cpu", torch.bfloat16):
        rough = model(*rows)
        loss = next_token_loss(model, *rows)
    assert rough.dtype == torch.bfloat16
    torch.testing.assert_close(rough.float(), exact, rtol=0.0, atol=0.06 * exact.detach().std())
    loss.backward()
    assert all(g.dtype == torch.float32 and g.isfinite().all() for g in gradients(model).values())


def test_nothing_is_made_on_another_device():
    """Tensors of the meta device refuse to meet any other."""
    with torch.device("meta"):
        model = MarketGpt(dataclasses.replace(TINY, n_classes=3))
        rows = batch()
    rows = [row.to("meta") for row in rows]
    assert model(*rows).device.type == "meta"
    with torch.no_grad():
        cache = KvCache(model.shape)
        for n_tokens in (3, 1, 4):
            h_BTD = model.hidden(rows[0][:, :n_tokens], *rows[1:], cache)
    assert model.class_logits(h_BTD[:, -1]).shape == (4, 3)


# Direction head.


def test_the_direction_head_begins_without_an_opinion_and_learns():
    model = build(n_classes=3)
    h_BD = model.hidden(*batch())[:, -1]
    logits_BC = model.class_logits(h_BD)
    assert torch.equal(logits_BC, torch.zeros(4, 3))
    functional.cross_entropy(logits_BC, torch.tensor([0, 1, 2, 2])).backward()
    assert model.direction.weight.grad.abs().max() > 0
    with torch.no_grad():
        model.direction.weight -= model.direction.weight.grad
    assert model.class_logits(h_BD).std() > 0


def test_a_model_without_a_direction_head_says_so():
    model = build()
    with pytest.raises(TrainingError, match="build it with n_classes > 0"):
        model.class_logits(model.hidden(*batch())[:, -1])


# What is refused.


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"vocabulary": 1}, "vocabulary is 1; expected 2 to 65536"),
        ({"vocabulary": 65537}, "vocabulary is 65537; expected 2 to 65536"),
        ({"context": 0}, "context is 0; expected at least 1"),
        ({"layers": 0}, "layers is 0; expected at least 1"),
        ({"heads": -2}, "heads is -2; expected at least 1"),
        ({"d_ff": 0}, "d_ff is 0; expected at least 1"),
        ({"n_assets": 0}, "n_assets is 0; expected at least 1"),
        ({"n_categories": 0}, "n_categories is 0; expected at least 1"),
        ({"asset_width": 0}, "asset_width is 0; expected at least 1"),
        ({"category_width": -1}, "category_width is -1; expected at least 1"),
        ({"heads": 3}, "d_model is 16; expected a multiple of 6: 3 heads of equal and even width"),
        ({"heads": 16}, "d_model is 16; expected a multiple of 32"),  # heads one number wide
        ({"d_model": 0}, "d_model is 0; expected at least 1"),
        ({"dropout": 1.0}, "dropout is 1.0; expected 0 or more and below 1"),
        ({"dropout": -0.1}, "dropout is -0.1; expected 0 or more and below 1"),
        ({"dropout": math.nan}, "dropout is nan; expected 0 or more and below 1"),
        ({"n_classes": 1}, "n_classes is 1; expected 0 for no direction head, or at least 2"),
        ({"n_classes": -3}, "n_classes is -3; expected 0 for no direction head, or at least 2"),
    ],
    ids=str,
)
def test_impossible_shapes_are_refused_in_one_line(options, message):
    with pytest.raises(TrainingError) as raised:
        dataclasses.replace(TINY, **options)
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)


def test_the_largest_vocabulary_is_that_of_sixteen_bits():
    assert dataclasses.replace(TINY, vocabulary=65536).vocabulary == 65536


def test_an_unknown_activation_is_refused_with_the_nearest():
    with pytest.raises(UsageError, match=r"unknown activation 'swish' .*gelu, swiglu"):
        dataclasses.replace(TINY, activation="swish")


@pytest.mark.parametrize("place", [0, 1, 2])
@pytest.mark.parametrize("dtype", [torch.uint16, torch.int16, torch.uint8, torch.float32])
def test_other_than_int64_and_int32_is_refused(dtype, place):
    rows = batch()
    rows[place] = rows[place].to(dtype)
    name = ("tokens", "assets", "categories")[place]
    with pytest.raises(TrainingError, match=rf"^{name} are {dtype}; expected torch.int64 or"):
        build()(*rows)


def test_int32_is_as_good_as_int64():
    model, rows = build(), batch()
    assert torch.equal(model(*(row.int() for row in rows)), model(*rows))


@pytest.mark.parametrize("n_tokens", [0, 13])
def test_rows_that_no_context_holds_are_refused(n_tokens):
    tokens = torch.zeros(2, n_tokens, dtype=torch.long)
    with pytest.raises(TrainingError, match=f"rows have {n_tokens} tokens; expected 1 to 12"):
        build()(tokens, tokens[:, 0] if n_tokens else torch.zeros(2).long(), torch.zeros(2).long())
