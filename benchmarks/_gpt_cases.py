"""The three sizes of MarketGPT, and how much of each is measured."""

from dataclasses import dataclass

import numpy as np
import torch

from walkforge.base import Precision
from walkforge.models import GptShape


@dataclass(frozen=True)
class Case:
    """One size of model, and how much of it a round is."""

    words: str
    shape: GptShape
    on_cuda: tuple[int, int]
    """Windows of a step, steps of a round."""
    on_cpu: tuple[int, int]
    """The same: little, so that all cases together take minutes."""


CASES = {
    "c": Case(
        "C: 20 assets, 256 wide, 6 layers, context 128",
        GptShape(
            vocabulary=1024, context=128, d_model=256, layers=6, heads=8, d_ff=1024,
            n_assets=20, n_categories=1, asset_width=16, category_width=8,
        ),
        on_cuda=(64, 200),
        on_cpu=(32, 4),
    ),
    "b": Case(
        "B: 100 assets, 512 wide, 8 layers, context 256",
        GptShape(
            vocabulary=2048, context=256, d_model=512, layers=8, heads=8, d_ff=2048,
            n_assets=100, n_categories=4, asset_width=32, category_width=16,
        ),
        on_cuda=(64, 100),
        on_cpu=(4, 2),
    ),
    "a": Case(
        "A: 600 assets, 768 wide, 12 layers, context 512",
        GptShape(
            vocabulary=4096, context=512, d_model=768, layers=12, heads=12, d_ff=3072,
            n_assets=600, n_categories=5, asset_width=64, category_width=32,
        ),
        on_cuda=(64, 40),
        on_cpu=(2, 2),
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Setting:
    """One case on one device, and what both loops are given."""

    name: str
    device: torch.device
    precision: Precision
    compiled: bool
    windows: int
    """Of a step."""
    n_steps: int
    """Of a round."""
    workers: int
    """Processes of the plain loop's DataLoader."""

    @property
    def case(self) -> Case:
        """Return what is measured."""
        return CASES[self.name]

    @property
    def shape(self) -> GptShape:
        """Return the sizes of the model."""
        return self.case.shape

    @property
    def step_tokens(self) -> int:
        """Return how many tokens are learned from in a step."""
        return self.windows * self.shape.context

    def tokens(self) -> tuple[np.ndarray, np.ndarray]:
        """Return random tokens, assets x bars, and the category of each asset."""
        shape, random = self.shape, np.random.default_rng(0)
        n_bars = max(4 * shape.context, 100_000 // shape.n_assets)
        tokens = random.integers(0, shape.vocabulary, (shape.n_assets, n_bars))
        return tokens, np.arange(shape.n_assets) % shape.n_categories
