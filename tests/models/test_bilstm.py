"""Forecasts that can come true, whatever the network says."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from walkforge.base import TrainingError, UsageError
from walkforge.models import Bilstm, ForecastRow, Layout, initial_state
from walkforge.models._forecast_heads import head_widths, possible_forecast

DTYPES = [torch.float64, torch.float32, torch.bfloat16, torch.float16]
NUMBERS = st.one_of(
    st.floats(-1e4, 1e4, width=32),
    st.sampled_from([0.0, -0.0, 1e-30, -1e-30, 1e4, -1e4, 89.0, -104.0, 20.0, 1.0]),
)


@st.composite
def _raw(draw):
    """Return a row and raw numbers of its heads for two decisions."""
    levels = draw(st.sampled_from([(0.5,), (0.1, 0.5), (0.5, 0.7, 0.9), (0.1, 0.2, 0.5, 0.8, 0.9)]))
    row, dtype = ForecastRow(draw(st.integers(1, 3)), levels), draw(st.sampled_from(DTYPES))

    def numbers(*shape):
        n = torch.Size(shape).numel()
        drawn = draw(st.lists(NUMBERS, min_size=n, max_size=n))
        return torch.tensor(drawn, dtype=torch.float64).reshape(shape).to(dtype)

    return row, {
        name: numbers(2, 1) if name == "volatility" else numbers(2, row.horizon_bars, width)
        for name, width in head_widths(row).items()
    }


def _assert_possible(row, forecast):
    assert forecast.isfinite().all()
    parts = row.split(forecast)
    first, high, low, last = parts["ohlc"].unbind(-1)
    assert (high >= torch.maximum(first, last)).all()
    assert (low <= torch.minimum(first, last)).all()
    assert (parts["band"][..., 1] >= 0).all()
    assert (parts["quantiles"].diff(dim=-1) >= 0).all()


@given(_raw())
def test_whatever_the_heads_say_the_forecast_is_possible(drawn):
    row, raw = drawn
    forecast = possible_forecast(row, raw)
    assert forecast.shape == (2, row.n_numbers)
    for dtype in (forecast.dtype, torch.float32, torch.bfloat16):
        _assert_possible(row, forecast.to(dtype))


@given(_raw())
def test_open_close_middle_median_and_volatility_are_what_the_heads_say(drawn):
    row, raw = drawn
    parts = row.split(possible_forecast(row, raw))
    middle = row.levels.index(0.5)
    for mine, said in (
        (parts["ohlc"][..., 0], raw["ohlc"][..., 0]),
        (parts["ohlc"][..., 3], raw["ohlc"][..., 3]),
        (parts["band"][..., 0], raw["band"][..., 0]),
        (parts["quantiles"][..., middle], raw["quantiles"][..., middle]),
        (parts["volatility"], raw["volatility"]),
    ):
        assert torch.equal(mine, said.to(mine.dtype))


def test_wicks_half_width_and_gaps_are_softplus():
    row = ForecastRow(1, (0.1, 0.3, 0.5, 0.9))
    raw = {
        "ohlc": torch.tensor([[1.0, 0.3, -0.2, 2.0]], dtype=torch.float64),
        "band": torch.tensor([[0.5, -1.0]], dtype=torch.float64),
        "volatility": torch.tensor([0.7], dtype=torch.float64),
        "quantiles": torch.tensor([[0.4, -0.6, 0.25, 1.5]], dtype=torch.float64),
    }

    def soft(x):
        return torch.tensor(x, dtype=torch.float64).exp().log1p().item()

    expected = [1.0, 2.0 + soft(0.3), 1.0 - soft(-0.2), 2.0, 0.5, soft(-1.0), 0.7]
    expected += [0.25 - soft(-0.6) - soft(0.4), 0.25 - soft(-0.6), 0.25, 0.25 + soft(1.5)]
    assert possible_forecast(row, raw).tolist() == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("decoder", ["lstm", "dense"])
@pytest.mark.parametrize("autocast", [False, True])
def test_a_network_far_out_of_its_depth_still_says_what_is_possible(decoder, autocast):
    architecture = Bilstm(n_features=3, window_bars=5, encoder=(6, 4), decoder=decoder)
    layout = Layout.of(architecture)
    flat_MP = layout.flatten([initial_state(architecture, seed) for seed in range(3)]) * 300.0
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
        forecast = architecture.forward(
            layout.views(flat_MP), torch.randn(3, 8, 5, 3) * 1e3, dropout=None
        )
    assert forecast.shape == (3, 8, architecture.row.n_numbers)
    _assert_possible(architecture.row, forecast)


def test_the_row_is_that_of_the_horizon_and_the_levels():
    architecture = Bilstm(n_features=3, window_bars=5, horizon_bars=2, levels=(0.2, 0.5))
    assert architecture.row == ForecastRow(2, (0.2, 0.5))
    assert Bilstm(n_features=3, window_bars=5).row == ForecastRow(5)


def test_learned_weights_are_four_zeros_that_the_forecast_does_not_read():
    architecture = Bilstm(n_features=3, window_bars=5, encoder=(4,), learned_weights=True)
    layout = Layout.of(architecture)
    state = initial_state(architecture, 0)
    assert state["task_log_variances"].tolist() == [0.0] * 4
    assert "task_log_variances" in layout.parameter_names
    flat_MP = layout.flatten([state])
    x_MBTF = torch.randn(1, 2, 5, 3)
    before = architecture.forward(layout.views(flat_MP), x_MBTF, dropout=None)
    layout.views(flat_MP)["task_log_variances"].fill_(9.0)
    assert torch.equal(architecture.forward(layout.views(flat_MP), x_MBTF, dropout=None), before)
    plain = Bilstm(n_features=3, window_bars=5, encoder=(4,))
    assert Layout.of(plain).n_parameters == layout.n_parameters - 4


def test_all_but_the_volatility_goes_through_the_decoder():
    architecture = Bilstm(n_features=3, window_bars=5, encoder=(4,))
    layout = Layout.of(architecture)
    flat_MP = layout.flatten([initial_state(architecture, 0)])
    x_MBTF = torch.randn(1, 2, 5, 3)
    before = architecture.forward(layout.views(flat_MP), x_MBTF, dropout=None)
    layout.views(flat_MP)["decoder.bias_ih_l0"].add_(1.0)
    after = architecture.forward(layout.views(flat_MP), x_MBTF, dropout=None)
    changed = (before != after).all(dim=1)[0]
    named = dict(zip(architecture.row.names, changed.tolist(), strict=True))
    assert [name for name, moved in named.items() if not moved] == ["volatility"]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of the compiler, about itself
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_a_compiled_forecaster_learns_as_a_plain_one(dtype):
    architecture = Bilstm(n_features=3, window_bars=4, encoder=(4, 3), decoder_hidden=3)
    layout = Layout.of(architecture)
    flat_MP = layout.flatten([initial_state(architecture, seed) for seed in range(2)]).to(dtype)
    leaves = {name: v.clone().requires_grad_() for name, v in layout.views(flat_MP).items()}
    x_MBTF = torch.randn(2, 5, 4, 3, dtype=dtype)

    def loss(state):
        return architecture.forward(state, x_MBTF, dropout=None).square().mean()

    plain, compiled = (
        torch.autograd.grad(run(leaves), list(leaves.values()))
        for run in (loss, torch.compile(loss))
    )
    for one, other in zip(plain, compiled, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"decoder": "lstn"}, UsageError, "did you mean 'lstm'"),
        ({"encoder": ()}, TrainingError, "at least one layer"),
        ({"encoder": (8, 0)}, TrainingError, "widths of at least 1"),
        ({"decoder_hidden": 0}, TrainingError, "widths of at least 1"),
        ({"horizon_bars": 0}, TrainingError, "horizon_bars is 0"),
        ({"levels": (0.1, 0.9)}, TrainingError, "the median 0.5 among them"),
    ],
)
def test_what_cannot_be_built_is_refused_in_one_line(changes, error, words):
    with pytest.raises(error, match=words) as refusal:
        Bilstm(n_features=3, window_bars=5, **changes)
    assert "\n" not in str(refusal.value)
