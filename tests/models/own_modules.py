"""Modules of a user's own, honest and not."""

import copy
from pathlib import Path

import numpy as np
import torch
from torch import nn

from walkforge.base import OwnPart, TrainingError


def part_of(make):
    """Return a function as the part that it would be in a file."""
    return OwnPart(Path(f"{make.__name__}.py"), "make", make.__name__, b"", make, TrainingError)


def perceptron(n_features, window_bars, n_outputs):
    return nn.Sequential(
        nn.Flatten(),
        nn.Linear(n_features * window_bars, 8),
        nn.Tanh(),
        nn.Dropout(0.4),
        nn.Linear(8, n_outputs),
    )


def batch_normed(n_features, window_bars, n_outputs):
    return nn.Sequential(
        nn.Flatten(),
        nn.Linear(n_features * window_bars, 8),
        nn.BatchNorm1d(8),
        nn.ReLU(),
        nn.Linear(8, n_outputs),
    )


class Gru(nn.Module):
    def __init__(self, n_features, n_outputs):
        super().__init__()
        self.gru = nn.GRU(n_features, 6, batch_first=True)
        self.dropout = nn.Dropout(0.3)
        self.head = nn.Linear(6, n_outputs)

    def forward(self, x):
        return self.head(self.dropout(self.gru(x)[0][:, -1]))


def recurrent(n_features, window_bars, n_outputs):
    return Gru(n_features, n_outputs)


class Attention(nn.Module):
    """Its positions are made anew each time and stand in no file."""

    def __init__(self, n_features, window_bars, n_outputs):
        super().__init__()
        self.into = nn.Linear(n_features, 8)
        positions = torch.linspace(0, 1, window_bars)[:, None].expand(-1, 8)
        self.register_buffer("positions", positions.clone(), persistent=False)
        self.query, self.key, self.value = (nn.Linear(8, 8) for _ in range(3))
        self.head = nn.Linear(8, n_outputs)

    def forward(self, x):
        h = self.into(x) + self.positions
        weights = torch.softmax(self.query(h) @ self.key(h).transpose(1, 2) / 8**0.5, dim=-1)
        return self.head((weights @ self.value(h))[:, -1])


def attention(n_features, window_bars, n_outputs):
    return Attention(n_features, window_bars, n_outputs)


def convolution(n_features, window_bars, n_outputs):
    return Transposed(
        nn.Sequential(
            nn.Conv1d(n_features, 5, 3, padding=1),
            nn.GELU(),
            nn.Flatten(),
            nn.Linear(5 * window_bars, n_outputs),
        )
    )


class Transposed(nn.Module):
    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, x):
        return self.inner(x.transpose(1, 2))


class Detached(nn.Module):
    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, x):
        return self.inner(x).detach()


HONEST = [perceptron, batch_normed, recurrent, attention, convolution]


class Around(nn.Module):
    """A linear head with something strange before it."""

    def __init__(self, before, n_inputs, n_outputs):
        super().__init__()
        self.before = before
        self.head = nn.Linear(n_inputs, n_outputs)

    def forward(self, x):
        return self.head(self.before(self, x.flatten(1)))


def _around(before):
    return lambda n_features, window_bars, n_outputs: Around(
        before, n_features * window_bars, n_outputs
    )


def _counted(module, x):
    module.n_calls = getattr(module, "n_calls", 0) + 1
    return x + module.n_calls


def _remembering(module, x):
    seen = copy.copy(getattr(module, "seen", torch.zeros(())))
    module.seen = x.detach().sum()
    return x + 0.0 * x + seen


def _unused(n_features, window_bars, n_outputs):
    module = perceptron(n_features, window_bars, n_outputs)
    module.register_parameter("spare", nn.Parameter(torch.zeros(3)))
    return module


def _frozen(n_features, window_bars, n_outputs):
    module = perceptron(n_features, window_bars, n_outputs)
    module[1].weight.requires_grad_(False)
    return module


def _unseeded(n_features, window_bars, n_outputs):
    module = perceptron(n_features, window_bars, n_outputs)
    with torch.no_grad():
        module[1].weight.fill_(np.random.default_rng().normal())
    return module


def _tied(n_features, window_bars, n_outputs):
    module = nn.Sequential(nn.Flatten(), nn.Linear(n_features * window_bars, 4), nn.Linear(4, 4))
    module.append(nn.Linear(4, 4))
    module[3].weight = module[2].weight
    module.append(nn.Linear(4, n_outputs))
    return module


DISHONEST = {
    "statistics of the batch": (
        lambda f, w, k: nn.Sequential(
            nn.Flatten(), nn.BatchNorm1d(f * w, track_running_stats=False), nn.Linear(f * w, k)
        ),
        "forward failed: ValueError: Expected more than 1 value per channel",
    ),
    "a mean over the batch": (
        _around(lambda module, x: x - x.mean(dim=0)),
        r"a row of a batch gives \[.*\], and \[.*\] alone .* in evaluation mode no row may see",
    ),
    "ranks in the batch": (
        _around(lambda module, x: x.argsort(dim=0).argsort(dim=0).float()),
        "in evaluation mode no row may see another",
    ),
    "noise in prediction": (
        _around(lambda module, x: x + torch.randn_like(x)),
        "in evaluation mode (nothing is random|no row may see)",
    ),
    "a counter": (_around(_counted), "in evaluation mode (nothing is random|no row may see)"),
    "a memory": (_around(_remembering), "in evaluation mode (nothing is random|no row may see)"),
    "noise in training": (
        _around(lambda module, x: x + 0.1 * torch.randn_like(x) if module.training else x),
        r"in training the module draws random numbers of its own, .*; use torch.nn.Dropout",
    ),
    "a memory of training": (
        _around(lambda module, x: _counted(module, x) if module.training else x),
        r"draws random numbers of its own, or remembers; use .* buffers",
    ),
    "no module": (lambda f, w, k: [nn.Linear(f, k)], "returned list, expected a torch.nn.Module"),
    "other outputs": (
        lambda f, w, k: perceptron(f, w, k + 1),
        r"\(7, 3, 4\) \(rows, bars, features\) give \(7, 4\); expected \(7, 3\)",
    ),
    "all bars": (lambda f, w, k: nn.Linear(f, k), r"give \(7, 3, 3\); expected \(7, 3\)"),
    "no parameters": (lambda f, w, k: nn.Flatten(), "the module has no parameters"),
    "unused": (_unused, "spare has no part in the outputs; leave it out"),
    "frozen": (_frozen, "1.weight is torch.float32, frozen"),
    "double": (lambda f, w, k: perceptron(f, w, k).double(), "1.weight is torch.float64"),
    "numbers that no seed decides": (
        _unseeded,
        "1.weight begins with other numbers each time, whatever the seed; draw them with torch",
    ),
    "tied": (_tied, "two layers share a parameter"),
    "no sizes": (
        lambda f, w, k: nn.Sequential(nn.Flatten(), nn.LazyLinear(k)),
        "1.weight has no shape yet",
    ),
    "a wrong size": (
        lambda f, w, k: nn.Sequential(nn.Flatten(), nn.Linear(99, k)),
        "forward failed: RuntimeError: mat1 and mat2 shapes",
    ),
    "NaN": (_around(lambda module, x: x / 0.0 * 0.0), "a fresh module gives NaN or infinity"),
    "no gradient": (
        lambda f, w, k: Detached(perceptron(f, w, k)),
        r"the outputs have no gradient; leave out detach\(\)",
    ),
}
