"""How many contracts an order has once the venue's rules are kept."""

import numpy as np

from walkforge.base import FloatArray
from walkforge.market import Instrument


def order_sizes(wanted: FloatArray, price: FloatArray, instrument: Instrument) -> FloatArray:
    """Return contracts (n,) rounded down to the lot step; 0 where the venue would refuse them.

    An order is refused where rounding leaves nothing, or where its notional, contracts x contract
    size x `price` (n,), lies below the instrument's minimum. `price` is what is known when the
    order is sent: the close of the decision's bar.
    """
    # A thousandth of a millionth of a lot more: 0.3 / 0.1 is 2.999... and must stay 3 lots.
    lots = np.floor(np.asarray(wanted, dtype=np.float64) / instrument.lot_step + 1e-9)
    sizes = np.round(lots * instrument.lot_step, 12)
    enough = sizes * instrument.contract_size * price >= instrument.min_notional
    return np.where(enough & (lots > 0), sizes, 0.0)


def sizes_for_notional(notional: float, price: FloatArray, instrument: Instrument) -> FloatArray:
    """Return the contracts (n,), not yet rounded, that are worth `notional` at `price` (n,)."""
    return notional / (price * instrument.contract_size)
