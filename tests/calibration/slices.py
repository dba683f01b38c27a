"""Calibration slices whose true chances are known."""

import numpy as np


def drawn_slice(n=2000, seed=0, *, sure=1.0, n_classes=3):
    """Return logits whose softmax at temperature `sure` is the true chance of each class."""
    random = np.random.default_rng(seed)
    true = random.normal(0.0, 1.0, (n, n_classes))
    chance = np.exp(true) / np.exp(true).sum(axis=1, keepdims=True)
    labels = (chance.cumsum(axis=1) < random.random((n, 1))).sum(axis=1)
    return true * sure, labels.clip(0, n_classes - 1)
