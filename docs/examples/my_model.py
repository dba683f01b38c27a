"""A model of one's own: a small residual network over the window."""

from torch import nn


def make(n_features, window_bars, n_outputs):
    """Return a module that takes (rows, window_bars, n_features) and gives (rows, n_outputs)."""
    return nn.Sequential(
        nn.Flatten(),
        nn.Linear(n_features * window_bars, 32),
        Residual(32),
        Residual(32),
        nn.LayerNorm(32),
        nn.Linear(32, n_outputs),
    )


class Residual(nn.Module):
    """Adds what a layer finds to what came in."""

    def __init__(self, width):
        super().__init__()
        self.layer = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, width), nn.GELU(), nn.Dropout(0.1)
        )

    def forward(self, x):
        return x + self.layer(x)
