"""The loop that most people copy: GPT-2's block, a window a time from a Dataset, AdamW as it comes.

It runs eagerly, in the precision that it is given, and asks for the loss after every step.

Shapes: B windows, T tokens of a window, D width, H heads, W width of a head
"""

import itertools
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext

import numpy as np
import torch
from _gpt_cases import Setting
from _gpt_roof import wait_for
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset

from walkforge.base import Precision
from walkforge.models import GptShape

LEARNING_RATE, CLIP_NORM = 6e-4, 1.0


class PlainGpt(nn.Module):
    """Learned positions, LayerNorm, biases; a row for asset and category is added."""

    def __init__(self, shape: GptShape) -> None:
        super().__init__()
        width = shape.d_model
        self.tokens = nn.Embedding(shape.vocabulary, width)
        self.positions = nn.Embedding(shape.context, width)
        self.assets = nn.Embedding(shape.n_assets, shape.asset_width)
        self.assets_to_width = nn.Linear(shape.asset_width, width)
        self.categories = nn.Embedding(shape.n_categories, shape.category_width)
        self.categories_to_width = nn.Linear(shape.category_width, width)
        self.dropout = nn.Dropout(shape.dropout)
        self.blocks = nn.ModuleList(PlainBlock(shape) for _ in range(shape.layers))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, shape.vocabulary, bias=False)
        self.head.weight = self.tokens.weight
        nn.init.normal_(self.tokens.weight, std=0.02)

    def forward(self, tokens_BT: Tensor, assets_B: Tensor, categories_B: Tensor) -> Tensor:
        """Return logits_BTV of every next token."""
        places_T = torch.arange(tokens_BT.size(1), device=tokens_BT.device)
        row_BD = self.assets_to_width(self.assets(assets_B))
        row_BD = row_BD + self.categories_to_width(self.categories(categories_B))
        h_BTD = self.tokens(tokens_BT) + self.positions(places_T) + row_BD.unsqueeze(1)
        h_BTD = self.dropout(h_BTD)
        for block in self.blocks:
            h_BTD = block(h_BTD)
        return self.head(self.norm(h_BTD))


class PlainBlock(nn.Module):
    """LayerNorm, attention, LayerNorm, feed-forward."""

    def __init__(self, shape: GptShape) -> None:
        super().__init__()
        width = shape.d_model
        self.heads = shape.heads
        self.norm_1 = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.norm_2 = nn.LayerNorm(width)
        self.up = nn.Linear(width, shape.d_ff)
        self.down = nn.Linear(shape.d_ff, width)
        self.dropout = nn.Dropout(shape.dropout)

    def forward(self, h_BTD: Tensor) -> Tensor:
        """Return h_BTD with what the block adds to it."""
        B, T, D = h_BTD.shape
        qkv = self.qkv(self.norm_1(h_BTD)).split(D, dim=2)
        q_BHTW, k_BHTW, v_BHTW = (x.view(B, T, self.heads, -1).transpose(1, 2) for x in qkv)
        mixed_BHTW = functional.scaled_dot_product_attention(q_BHTW, k_BHTW, v_BHTW, is_causal=True)
        mixed_BTD = mixed_BHTW.transpose(1, 2).contiguous().view(B, T, D)
        h_BTD = h_BTD + self.dropout(self.out(mixed_BTD))
        return h_BTD + self.dropout(self.down(functional.gelu(self.up(self.norm_2(h_BTD)))))


class PlainWindows(Dataset):
    """Every window of every asset, sliced when it is asked for."""

    def __init__(self, tokens: np.ndarray, categories: np.ndarray, context: int) -> None:
        self.tokens, self.categories, self.context = tokens, categories, context
        self.per_asset = tokens.shape[1] - context

    def __len__(self) -> int:
        return len(self.tokens) * self.per_asset

    def __getitem__(self, number: int) -> tuple[Tensor, Tensor, int, int]:
        asset, start = divmod(number, self.per_asset)
        window = self.tokens[asset, start : start + self.context + 1]
        inputs = torch.tensor(window[:-1], dtype=torch.long)
        targets = torch.tensor(window[1:], dtype=torch.long)
        return inputs, targets, asset, int(self.categories[asset])


def plain_rounds(setting: Setting) -> Iterator[float]:
    """Train with the plain loop; return tokens/s, round by round, for ever."""
    step = _plain_step(PlainGpt(setting.shape).to(setting.device).train(), setting)
    batches = itertools.chain.from_iterable(itertools.repeat(_loader(setting)))
    total_loss = 0.0
    while True:
        started = time.perf_counter()
        for batch in itertools.islice(batches, setting.n_steps):
            total_loss += step(batch).item()
        wait_for(setting.device)
        yield setting.n_steps * setting.step_tokens / (time.perf_counter() - started)


def _loader(setting: Setting) -> DataLoader:
    return DataLoader(
        PlainWindows(*setting.tokens(), setting.shape.context),
        batch_size=setting.windows,
        shuffle=True,
        drop_last=True,
        num_workers=setting.workers,
        pin_memory=setting.device.type == "cuda",
    )


def _plain_step(model: PlainGpt, setting: Setting) -> Callable[[list[Tensor]], Tensor]:
    device, precision = setting.device, setting.precision
    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE)
    scaler = torch.amp.GradScaler(device.type, enabled=precision.scales_losses)

    def step(batch: list[Tensor]) -> Tensor:
        inputs, targets, *whose = (x.to(device, non_blocking=True) for x in batch)
        optimizer.zero_grad()
        with _autocast(device, precision):
            logits = model(inputs, *whose)
            loss = functional.cross_entropy(logits.flatten(0, 1), targets.flatten())
        scaler.scale(loss).backward()
        scaler.unscale_(optimizer)
        nn.utils.clip_grad_norm_(model.parameters(), CLIP_NORM)
        scaler.step(optimizer)
        scaler.update()
        return loss

    return step


def _autocast(device: torch.device, precision: Precision) -> AbstractContextManager:
    if not precision.autocast:
        return nullcontext()
    return torch.autocast(device.type, dtype=getattr(torch, precision.name))
