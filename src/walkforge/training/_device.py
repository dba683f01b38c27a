"""The state of PyTorch while it trains: precision of products, stream."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import lru_cache

import torch

from walkforge.base import Precision


@contextmanager
def products_in(precision: Precision) -> Iterator[None]:
    """Let float32 products use TF32 where `precision` says so."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high" if precision.tf32 else "highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def own_stream(device: torch.device) -> AbstractContextManager:
    """Return a stream of our own on CUDA: work on the default one cannot be recorded."""
    return _on_side_stream(device) if device.type == "cuda" else nullcontext()


@contextmanager
def _on_side_stream(device: torch.device) -> Iterator[None]:
    ours, theirs = _side_stream(device), torch.cuda.current_stream(device)
    ours.wait_stream(theirs)
    try:
        with torch.cuda.stream(ours):
            yield
    finally:
        theirs.wait_stream(ours)


@lru_cache
def _side_stream(device: torch.device) -> torch.cuda.Stream:
    return torch.cuda.Stream(device)
