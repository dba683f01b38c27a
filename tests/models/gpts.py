"""Small MarketGPTs, and rows for them to read."""

import dataclasses
import math

import torch

from walkforge.models import GptShape, MarketGpt

TINY = GptShape(
    vocabulary=23, context=12, d_model=16, layers=3, heads=2, d_ff=40, n_assets=5, n_categories=3,
    asset_width=4, category_width=3,
)  # fmt: skip
CASES = {
    "C": GptShape(
        vocabulary=1024, context=128, d_model=256, layers=6, heads=8, d_ff=1024,
        n_assets=20, n_categories=1,
    ),
    "B": GptShape(
        vocabulary=2048, context=256, d_model=512, layers=8, heads=8, d_ff=2048,
        n_assets=100, n_categories=4, asset_width=32, category_width=16,
    ),
    "A": GptShape(
        vocabulary=4096, context=512, d_model=768, layers=12, heads=12, d_ff=3072,
        n_assets=600, n_categories=5, asset_width=64, category_width=32,
    ),
}  # fmt: skip


def build(shape=TINY, seed=3, **options):
    torch.manual_seed(seed)
    return MarketGpt(dataclasses.replace(shape, **options)).eval()


def batch(shape=TINY, n_rows=4, n_tokens=None, seed=5):
    draw = torch.Generator().manual_seed(seed)
    sizes = [(n_rows, n_tokens or shape.context), (n_rows,), (n_rows,)]
    tops = [shape.vocabulary, shape.n_assets, shape.n_categories]
    return [torch.randint(n, size, generator=draw) for n, size in zip(tops, sizes, strict=True)]


def loud(model):
    """Give every tensor numbers of ordinary size, so that no part is too quiet to be missed."""
    draw = torch.Generator().manual_seed(8)
    for parameter in model.parameters():
        numbers = torch.randn(parameter.shape, generator=draw, dtype=torch.float64)
        parameter.data.copy_(numbers / math.sqrt(parameter.shape[-1]) + (parameter.dim() == 1))
    return model
