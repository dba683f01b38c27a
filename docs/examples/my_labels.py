"""Labels of one's own: does the close move by 1 % within 24 bars, and which way first?"""

import numpy as np

MOVE_FRAC = 0.01
MOST_BARS = 24


def make(bars):
    """Return 1, -1 or 0 per bar, and the close at which it is known (ms UTC)."""
    close, closes_at = bars.close, bars.closes_at
    score = np.full(len(close), np.nan)
    resolved_at = np.zeros(len(close))
    for bar in range(len(close) - MOST_BARS):
        ahead = close[bar + 1 : bar + 1 + MOST_BARS] / close[bar] - 1.0
        moved = np.flatnonzero(np.abs(ahead) >= MOVE_FRAC)
        # Nothing happened: that is known when the last of the bars has closed, and not before.
        first = moved[0] if len(moved) else MOST_BARS - 1
        score[bar] = np.sign(ahead[first]) if len(moved) else 0.0
        resolved_at[bar] = closes_at[bar + 1 + first]
    return score, resolved_at
