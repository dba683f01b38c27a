"""Paths after decisions become rows that `ForecastRow` reads, from each decision's own past."""

import numpy as np

from features.tokenizers import BARS, fitted
from walkforge.features import BAND_BARS, forecast_paths, path_forecasts
from walkforge.models import ForecastRow

ROW = ForecastRow(4, (0.25, 0.5, 0.75))


def test_rows_are_in_the_order_of_forecast_row_and_know_no_later_bar():
    tokenizer, rows = fitted("vq", volatility_bars=30), np.array([40, 200, 199])
    random = np.random.default_rng(3)
    tokens = random.integers(0, tokenizer.vocabulary, (3, 9, 4))
    sigma = np.array([0.01, 0.02, 0.03])
    close = BARS.close.copy()
    asked = {"rows_B": rows, "sigma_B": sigma, "levels": ROW.levels}
    found = path_forecasts(tokens, tokenizer, close=close, **asked)
    assert found.shape == (3, ROW.n_numbers)
    for place, row in enumerate(rows):
        past = close[: row + 1]
        expected = forecast_paths(
            tokens[place : place + 1],
            tokenizer.centres,
            returns_Bn=np.diff(np.log(past))[None, -30:],
            closes_Bw=past[None, -BAND_BARS:],
            sigma_B=sigma[place : place + 1],
            levels=ROW.levels,
        )
        for name, part in ROW.split(found[place]).items():
            np.testing.assert_allclose(part, getattr(expected, name)[0], rtol=1e-12)
    close[201:] = 1.0
    np.testing.assert_array_equal(path_forecasts(tokens, tokenizer, close=close, **asked), found)
