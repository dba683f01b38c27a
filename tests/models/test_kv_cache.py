"""Generation with a cache says what full passes say, within the context and beyond it.

Shapes: B rows, T tokens, S steps ahead, N paths, V vocabulary
"""

import pytest
import torch

from models.gpts import TINY, batch, build, loud
from walkforge.base import TrainingError
from walkforge.models import KvCache, sample_tokens
from walkforge.models._sample_tokens import _draw

CONTEXT = TINY.context


def speak(seed=3, **options):
    """Return a model whose logits are far apart, in float64."""
    return loud(build(seed=seed, **options).double())


def uniforms(n_paths=4, steps=3, seed=6):
    draw = torch.Generator().manual_seed(seed)
    return torch.rand(n_paths, steps, dtype=torch.float64, generator=draw)


@torch.no_grad()
def slow_sample(model, tokens_BT, assets_B, categories_B, *, steps, draw):
    """Draw each token from a full pass over the last `context` tokens before it."""
    for step in range(steps):
        logits_BTV = model(tokens_BT[:, -model.shape.context :], assets_B, categories_B)
        tokens_BT = torch.cat([tokens_BT, draw(logits_BTV[:, -1], step)[:, None]], dim=1)
    return tokens_BT[:, -steps:]


def likeliest(logits_BV, step):
    return logits_BV.argmax(-1)


def slow_draw(p_V, uniform):
    """Return the first token at which the sum of probabilities exceeds a number."""
    summed = 0.0
    for token, p in enumerate(p_V.tolist()):
        summed += p
        if summed > uniform:
            return token
    raise AssertionError("a number in [0, 1) is exceeded by the sum of all")


def passes_of(model):
    """Record the shape of tokens of every pass from here on."""
    shapes = []
    model.tokens.register_forward_hook(lambda _, given, out: shapes.append(tuple(given[0].shape)))
    return shapes


# The cache.


@pytest.mark.parametrize("pieces", [[1] * 12, [12], [3, 1, 4, 4], [1, 11], [11, 1]], ids=str)
@pytest.mark.parametrize(
    ("precision", "tolerance"), [("float64", 1e-12), ("float32", 2e-5)], ids=str
)
@torch.no_grad()
def test_pieces_with_a_cache_are_the_full_pass(pieces, precision, tolerance):
    model = speak().to(getattr(torch, precision))
    tokens, *sides = batch()
    cache, parts = KvCache(model.shape), []
    for piece in tokens.split(pieces, dim=1):
        parts.append(model.token_logits(model.hidden(piece, *sides, cache)))
    assert cache.length == CONTEXT
    assert cache.is_full
    whole = model(tokens, *sides)
    assert whole.std() > 0.3
    torch.testing.assert_close(torch.cat(parts, dim=1), whole, rtol=tolerance, atol=tolerance)


@torch.no_grad()
def test_a_cache_in_half_precision_comes_near():
    model, (tokens, *sides) = build(), batch()
    with torch.autocast("cpu", torch.bfloat16):
        cache = KvCache(model.shape)
        parts = [model.hidden(piece, *sides, cache) for piece in tokens.split(1, dim=1)]
        found, whole = torch.cat(parts, dim=1), model.hidden(tokens, *sides)
    torch.testing.assert_close(found, whole, rtol=0.03, atol=0.03)


@torch.no_grad()
def test_a_cache_takes_what_fits_and_not_one_token_more():
    model, (tokens, *sides) = build(), batch()
    cache = KvCache(model.shape, 5)
    model.hidden(tokens[:, :4], *sides, cache)
    with pytest.raises(TrainingError, match=r"holds 4 of 5 tokens and 2 more .*read the last"):
        model.hidden(tokens[:, 4:6], *sides, cache)
    assert cache.length == 4  # the refused tokens left nothing behind
    model.hidden(tokens[:, 4:5], *sides, cache)
    assert cache.is_full
    assert KvCache(model.shape, 1000).capacity == CONTEXT


def test_a_cache_is_refused_where_gradients_are_on():
    model = build()
    with pytest.raises(TrainingError, match=r"keeps no gradients; .*no_grad"):
        model.hidden(*batch(), KvCache(model.shape))


# Sampling against full passes.


@pytest.mark.parametrize("n_tokens", [1, 5, 12, 30])
@pytest.mark.parametrize("steps", [1, 8, 9, 25])
def test_greedy_tokens_are_those_of_full_passes_over_the_last_context(n_tokens, steps):
    model = speak()
    tokens, *sides = batch(n_tokens=n_tokens)
    found = sample_tokens(model, tokens, *sides, uniforms_NS=uniforms(steps=steps), temperature=0.0)
    expected = slow_sample(model, tokens, *sides, steps=steps, draw=likeliest)
    assert torch.equal(found, expected)
    assert found.dtype == torch.int64
    assert len(found.unique()) > 1


@pytest.mark.parametrize("n_tokens", [5, 12])
def test_drawn_tokens_are_those_of_full_passes_with_the_same_numbers(n_tokens):
    model, (tokens, *sides), numbers_BS = speak(), batch(n_tokens=n_tokens), uniforms(steps=20)

    def draw_one(logits_BV, step):
        p_BV = (logits_BV / 1.7).softmax(-1)
        return torch.tensor(
            [slow_draw(*one) for one in zip(p_BV, numbers_BS[:, step].tolist(), strict=True)]
        )

    expected = slow_sample(model, tokens, *sides, steps=20, draw=draw_one)
    found = sample_tokens(model, tokens, *sides, uniforms_NS=numbers_BS, temperature=1.7)
    assert torch.equal(found, expected)
    assert len(found.unique()) > 5


def test_the_cache_saves_passes_until_the_context_is_full():
    model = speak()
    shapes = passes_of(model)
    tokens, *sides = batch(n_rows=2, n_tokens=8)
    sample_tokens(model, tokens, *sides, uniforms_NS=uniforms(6, 8))
    read_once, within, beyond = [(2, 8)], [(6, 1)] * 4, [(6, CONTEXT)] * 2
    assert shapes == [*read_once, *within, *[(6, CONTEXT)], *beyond]


# Paths.


@pytest.mark.parametrize("n_tokens", [5, 12, 30])
def test_paths_of_a_row_are_those_of_the_row_repeated(n_tokens):
    model, rows = speak(), batch(n_tokens=n_tokens)
    found = sample_tokens(model, *rows, uniforms_NS=uniforms(12, 10))
    repeated = [row.repeat_interleave(3, dim=0) for row in rows]
    expected = sample_tokens(model, *repeated, uniforms_NS=uniforms(12, 10))
    assert found.shape == (12, 10)
    assert torch.equal(found, expected)
    assert len(found.unique(dim=0)) == 12  # no two paths are alike


def test_a_path_follows_from_its_own_numbers_whatever_is_drawn_beside_it():
    model, rows, numbers_NS = speak(), batch(n_tokens=6), uniforms(12, 9)
    before = torch.get_rng_state()
    all_NS = sample_tokens(model, *rows, uniforms_NS=numbers_NS)
    one = [row[2:3] for row in rows]
    assert torch.equal(sample_tokens(model, *one, uniforms_NS=numbers_NS[6:9]), all_NS[6:9])
    assert torch.equal(sample_tokens(model, *one, uniforms_NS=numbers_NS[7:8]), all_NS[7:8])
    assert torch.equal(torch.get_rng_state(), before)


# What may be drawn.


def draw_many(model, rows, **how):
    """Return how often each token followed the only row."""
    drawn = sample_tokens(model, *rows, uniforms_NS=uniforms(40_000, 1), **how)
    return torch.bincount(drawn[:, 0], minlength=TINY.vocabulary) / len(drawn)


@pytest.mark.parametrize("top_k", [None, 1, 4, 23])
@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_tokens_come_as_often_as_their_probability_says(temperature, top_k):
    model, rows = speak(), batch(n_rows=1, n_tokens=6)
    with torch.no_grad():
        logits_V = model(*rows)[0, -1] / temperature
    if top_k is not None:
        logits_V[logits_V < logits_V.topk(top_k).values[-1]] = -torch.inf
    p_V = logits_V.softmax(-1)
    found_V = draw_many(model, rows, temperature=temperature, top_k=top_k)
    assert ((found_V - p_V).abs() <= 5 * (p_V * (1 - p_V) / 40_000).sqrt()).all()


@pytest.mark.parametrize("how", [{"top_k": 1}, {"temperature": 1e-6}, {"temperature": 1e-300}])
def test_one_choice_or_no_heat_is_greedy(how):
    model, rows = speak(), batch(n_tokens=6)
    numbers_NS = uniforms(steps=20)
    greedy = sample_tokens(model, *rows, uniforms_NS=numbers_NS, temperature=0.0)
    assert torch.equal(sample_tokens(model, *rows, uniforms_NS=numbers_NS, **how), greedy)


def test_a_token_without_probability_is_never_drawn():
    """The smallest and largest numbers, and those between, lead to the tokens that have some."""
    draw = torch.Generator().manual_seed(0)
    logits_NV = torch.full((3, 50_000), -torch.inf)
    logits_NV[0, [7, 40_000]] = 0.0
    logits_NV[1] = torch.randn(50_000, generator=draw)
    logits_NV[1, ::2] = -60.0
    logits_NV[2, -1] = 0.0
    edges = [0.0, 5e-324, 1e-17, 0.5 - 2**-53, 0.5, 1 - 2**-53]
    numbers = torch.tensor(edges, dtype=torch.float64)
    numbers = torch.cat([numbers, torch.rand(500, dtype=torch.float64, generator=draw)])
    found_NK = torch.stack([_draw(logits_NV, u.expand(3, 1), 1.0, None)[:, 0] for u in numbers], 1)
    assert found_NK[0].unique().tolist() == [7, 40_000]
    assert found_NK[0, :6].tolist() == [7, 7, 7, 7, 40_000, 40_000]
    assert (found_NK[1] % 2 == 1).all()
    assert found_NK[1, [0, 5]].tolist() == [1, 49_999]
    assert (found_NK[2] == 49_999).all()


# What is refused.


@pytest.mark.parametrize(
    ("how", "message"),
    [
        (
            {"uniforms_NS": torch.zeros(4, 0, dtype=torch.float64)},
            "uniforms are torch.float64 [4, 0] for 4 rows; expected torch.float64, as many for "
            "each row and at least one step",
        ),
        (
            {"uniforms_NS": torch.zeros(6, 3, dtype=torch.float64)},
            "uniforms are torch.float64 [6, 3] for 4 rows; expected torch.float64, as many for "
            "each row and at least one step",
        ),
        (
            {"uniforms_NS": torch.zeros(4, 3)},
            "uniforms are torch.float32 [4, 3] for 4 rows; expected torch.float64, as many for "
            "each row and at least one step",
        ),
        ({"temperature": -1.0}, "temperature is -1.0; expected 0 or more"),
        ({"temperature": float("nan")}, "temperature is nan; expected 0 or more"),
        ({"temperature": float("inf")}, "temperature is inf; expected 0 or more"),
        ({"top_k": 0}, "top_k is 0; expected 1 to 23"),
        ({"top_k": 24}, "top_k is 24; expected 1 to 23"),
    ],
    ids=str,
)
def test_impossible_draws_are_refused_in_one_line(how, message):
    with pytest.raises(TrainingError) as raised:
        sample_tokens(build(), *batch(), **{"uniforms_NS": uniforms(), **how})
    assert str(raised.value) == message


def test_a_model_that_would_drop_is_refused():
    with pytest.raises(TrainingError, match=r"training mode .*model\.eval\(\)"):
        sample_tokens(build().train(), *batch(), uniforms_NS=uniforms())
