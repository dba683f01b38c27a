"""What a decision gets follows from its own prompt and its own numbers.

Shapes: n decisions, N paths of each, S steps ahead
"""

import numpy as np
import pytest
import torch

from models.gpts import TINY, build, loud
from walkforge.models import PathDraws, Prompts, last_states, sample_paths
from walkforge.models._prompts import _decisions_at_once

DRAWS = PathDraws(seed=3, series="AAA", paths=5, steps=4, temperature=1.3)
OPENED_MS = 60_000 * np.arange(30, dtype=np.int64) - 600_000  # some of them before 1970


def _prompts(rows, **how):
    tokens = np.random.default_rng(1).integers(0, TINY.vocabulary, 60).astype(np.uint16)
    rows = np.array(rows)
    lengths = np.minimum(rows % 7 + 2, TINY.context - DRAWS.steps + 1)
    return Prompts(tokens=tokens, rows=rows, lengths=lengths, **{"asset": 2, "category": 1, **how})


def _paths(model, rows, **how):
    found = np.full((len(rows), DRAWS.paths, DRAWS.steps), -1)
    for places, tokens_BNS in sample_paths(model, _prompts(rows, **how), OPENED_MS[rows], DRAWS):
        found[places] = tokens_BNS
    return found


def test_the_numbers_of_a_decision_belong_to_seed_series_and_moment():
    every = DRAWS.uniforms(OPENED_MS).reshape(30, 5, 4)
    assert every.dtype == np.float64
    assert ((every >= 0) & (every < 1)).all()
    assert len(np.unique(every)) == every.size
    np.testing.assert_array_equal(DRAWS.uniforms(OPENED_MS[7:8]), every[7])
    for other in ({"seed": 4}, {"series": "BBB"}):
        changed = PathDraws(**{**_plain(DRAWS), **other}).uniforms(OPENED_MS)
        assert not np.isin(changed, every).any()
    more = PathDraws(**{**_plain(DRAWS), "paths": 8}).uniforms(OPENED_MS)
    np.testing.assert_array_equal(more.reshape(30, 8, 4)[:, :5], every)


def test_the_numbers_are_those_that_they_were_in_older_bundles():
    first = DRAWS.uniforms(np.array([1_704_067_200_000]))[0]
    assert first.tolist() == [
        0.06968176458725606,
        0.45209777231397197,
        0.14921044293254693,
        0.5243044481660554,
    ]


def _plain(draws):
    return {name: getattr(draws, name) for name in draws.__dataclass_fields__}


def test_a_decision_gets_the_same_paths_alone_and_beside_any_others(monkeypatch):
    model, rows = loud(build().double()), list(range(8, 28))
    every = _paths(model, rows)
    assert (every >= 0).all()
    assert len(np.unique(every.reshape(20, -1), axis=0)) == 20
    for place, row in enumerate(rows):
        np.testing.assert_array_equal(_paths(model, [row])[0], every[place])
    monkeypatch.setattr("walkforge.models._prompts._MOST_PATHS", 10)
    np.testing.assert_array_equal(_paths(model, rows[::-1])[::-1], every)


def test_a_decision_reads_its_prompt_asset_and_category_and_nothing_else():
    model, rows = loud(build()), np.arange(10, 29)
    prompts = _prompts(rows)
    h_nD = last_states(model, prompts)
    for place, (row, length) in enumerate(zip(rows, prompts.lengths, strict=True)):
        tokens = torch.from_numpy(prompts.tokens[row - length + 1 : row + 1].astype(np.int64))
        with torch.no_grad():
            alone = model.hidden(tokens[None], torch.tensor([2]), torch.tensor([1]))[0, -1]
        torch.testing.assert_close(h_nD[place], alone, rtol=1e-5, atol=1e-5)
    for other in ({"asset": 1}, {"category": 0}):
        assert not torch.allclose(last_states(model, _prompts(rows, **other)), h_nD, atol=1e-2)


@pytest.mark.parametrize(("paths", "expected"), [(1, 4096), (64, 64), (5000, 1)])
def test_as_many_decisions_are_drawn_at_once_as_their_paths_fit(paths, expected):
    assert _decisions_at_once(TINY, paths) == expected
