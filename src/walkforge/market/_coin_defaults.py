"""What is known of common coins and their venues without asking anybody."""

from __future__ import annotations

from typing import NamedTuple


class Coin(NamedTuple):
    """How a coin against USDT is priced and sized; steps in contracts."""

    tick_size: float
    spot_lot_step: float
    perpetual_lot_step: float


class Fees(NamedTuple):
    """Fractions of the notional, of an account without discounts."""

    maker_frac: float
    taker_frac: float


# Sane for 2021-2025, in which exchanges changed some of them more than once; BTCUSDT has the
# tick of the perpetual (0.10) everywhere, because the fill rules are stated with it and it is the
# more careful one.
COINS = {
    "BTCUSDT": Coin(0.1, 0.00001, 0.001),
    "ETHUSDT": Coin(0.01, 0.0001, 0.001),
    "BNBUSDT": Coin(0.01, 0.001, 0.01),
    "SOLUSDT": Coin(0.01, 0.001, 0.01),
    "XRPUSDT": Coin(0.0001, 0.1, 0.1),
    "ADAUSDT": Coin(0.0001, 0.1, 1.0),
    "DOGEUSDT": Coin(0.00001, 1.0, 1.0),
    "AVAXUSDT": Coin(0.01, 0.01, 1.0),
    "LINKUSDT": Coin(0.01, 0.01, 0.01),
    "LTCUSDT": Coin(0.01, 0.001, 0.001),
    "DOTUSDT": Coin(0.001, 0.01, 0.1),
    "BCHUSDT": Coin(0.01, 0.001, 0.001),
    "MATICUSDT": Coin(0.0001, 0.1, 1.0),
    "NEARUSDT": Coin(0.001, 0.1, 1.0),
}

# What Binance and Bybit ask of most of these. Some asked more for a while (of BTCUSDT perpetuals
# 100), which only the venue itself can tell.
MIN_NOTIONAL = 5.0

# As the venues published them for the lowest tier, looked up in November 2026. Fees before that
# were others: Binance's perpetuals took 0.04 % until 2023, Kraken 0.16 % and 0.26 % until 2024.
FEES = {
    "binance": Fees(0.001, 0.001),
    "binance_um": Fees(0.0002, 0.0005),
    "bybit": Fees(0.001, 0.001),
    "bybit_linear": Fees(0.0002, 0.00055),
    "okx": Fees(0.0008, 0.001),
    "okx_swap": Fees(0.0002, 0.0005),
    "kraken": Fees(0.0025, 0.004),
    "coinbase": Fees(0.006, 0.012),
}

# Most perpetuals settle at 00:00, 08:00 and 16:00 UTC; some, at some times, every 4 hours or 1.
FUNDING_INTERVAL_H = 8.0
