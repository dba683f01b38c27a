"""What is read off a network's outputs, as modules of PyTorch that go into an exported graph.

Each computes what the calibration room computes with NumPy, in float64 as there; a test and every
export hold the two together.

Shapes: B rows, C classes, K points of a curve or numbers of an answer, H steps ahead, Q quantiles
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from walkforge.calibration import ForecastClasses
from walkforge.models import ForecastRow


class ClassReading(nn.Module):
    """Logits_BC to the same and their probabilities_BC, of a calibrator's `as_dict`.

    A row with a NaN or infinite logit has NaN for probabilities, as from `apply`.
    """

    outputs = ("logits", "probabilities")

    def __init__(self, calibrator: dict[str, Any]) -> None:
        super().__init__()
        self.weigh = _MODULES[calibrator["kind"]](calibrator)

    def forward(self, logits_BC: Tensor) -> tuple[Tensor, Tensor]:
        wide_BC = logits_BC.double()
        finite_B1 = wide_BC.isfinite().all(dim=1, keepdim=True)
        probabilities_BC = self.weigh(torch.where(finite_B1, wide_BC, 0.0))
        return logits_BC, torch.where(finite_B1, probabilities_BC, torch.nan).float()


class ForecastReading(nn.Module):
    """Forecast rows_BK to the same with the spread of their quantiles set right."""

    outputs = ("forecast",)
    factors_H1: Tensor

    def __init__(self, row: ForecastRow, classes: ForecastClasses) -> None:
        super().__init__()
        self.row = row
        self.median = row.levels.index(0.5)
        self.register_buffer("factors_H1", _constant(classes.spread.factors_)[:, None])

    def forward(self, rows_BK: Tensor) -> tuple[Tensor]:
        quantiles_BHQ = self.row.split(rows_BK)["quantiles"].double()
        middle_BH1 = quantiles_BHQ[..., self.median : self.median + 1]
        spread_BHQ = middle_BH1 + self.factors_H1 * (quantiles_BHQ - middle_BH1)
        n_others = self.row.n_numbers - self.row.horizon_bars * len(self.row.levels)
        return (torch.cat([rows_BK[:, :n_others], spread_BHQ.float().flatten(1)], dim=1),)


class _Softmax(nn.Module):
    """`none` and `temperature`: softmax(logits / T)."""

    def __init__(self, temperature: float) -> None:
        super().__init__()
        self.temperature = temperature

    def forward(self, logits_BC: Tensor) -> Tensor:
        return torch.softmax(logits_BC / self.temperature, dim=1)


class _Platt(nn.Module):
    """softmax(slope * log_softmax(logits / T) + offset)."""

    slope_C: Tensor
    offset_C: Tensor

    def __init__(self, described: dict[str, Any]) -> None:
        super().__init__()
        self.temperature = float(described["temperature"])
        self.register_buffer("slope_C", _constant(described["slope"]))
        self.register_buffer("offset_C", _constant(described["offset"]))

    def forward(self, logits_BC: Tensor) -> Tensor:
        scores_BC = torch.log_softmax(logits_BC / self.temperature, dim=1)
        return torch.softmax(scores_BC * self.slope_C + self.offset_C, dim=1)


class _Isotonic(nn.Module):
    """One curve per class over its log odds, no class below the floor, rows divided by sums."""

    def __init__(self, described: dict[str, Any]) -> None:
        super().__init__()
        self.floor = float(described["floor"])
        self.curves = nn.ModuleList(
            _Curve(curve["log_odds"], curve["share"]) if curve else _OwnSoftmax(number)
            for number, curve in enumerate(described["curves"])
        )

    def forward(self, logits_BC: Tensor) -> Tensor:
        columns = [
            curve(logits_BC, _log_odds(logits_BC, number))
            for number, curve in enumerate(self.curves)
        ]
        weights_BC = torch.stack(columns, dim=1).clamp(min=self.floor)
        return weights_BC / weights_BC.sum(dim=1, keepdim=True)


class _OwnSoftmax(nn.Module):
    """A class that the calibration slice said nothing about keeps its softmax."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number

    def forward(self, logits_BC: Tensor, log_odds_B: Tensor) -> Tensor:
        return torch.softmax(logits_BC, dim=1)[:, self.number]


class _Curve(nn.Module):
    """Straight lines between points, flat outside them."""

    x_K: Tensor
    y_K: Tensor

    def __init__(self, log_odds: list[float], share: list[float]) -> None:
        super().__init__()
        # A curve of one point is flat everywhere; two equal shares say so without a division by 0.
        if len(log_odds) == 1:
            log_odds, share = [log_odds[0], log_odds[0] + 1.0], [share[0]] * 2
        self.lowest, self.highest = log_odds[0], log_odds[-1]
        self.register_buffer("x_K", _constant(log_odds))
        self.register_buffer("y_K", _constant(share))

    def forward(self, logits_BC: Tensor, log_odds_B: Tensor) -> Tensor:
        inside_B = log_odds_B.clamp(self.lowest, self.highest)
        # How many points lie at or below it. ONNX has no binary search; curves have few points.
        n_below_B = (inside_B[:, None] >= self.x_K).sum(dim=1)
        left_B = (n_below_B - 1).clamp(0, len(self.x_K) - 2)
        x_left_B, y_left_B = self.x_K[left_B], self.y_K[left_B]
        way_B = (inside_B - x_left_B) / (self.x_K[left_B + 1] - x_left_B)
        return y_left_B + way_B * (self.y_K[left_B + 1] - y_left_B)


def _log_odds(logits_BC: Tensor, number: int) -> Tensor:
    """Return the class's log odds against all others together (B,)."""
    others = [c for c in range(logits_BC.shape[1]) if c != number]
    return logits_BC[:, number] - torch.logsumexp(logits_BC[:, others], dim=1)


def _constant(values: Any) -> Tensor:
    return torch.as_tensor(values, dtype=torch.float64).clone()


_MODULES: dict[str, Callable[[dict[str, Any]], nn.Module]] = {
    "none": lambda described: _Softmax(1.0),
    "temperature": lambda described: _Softmax(float(described["temperature"])),
    "platt": _Platt,
    "isotonic": _Isotonic,
}
