"""The nearest code of every row, compiled. Numba is imported with this file, on use.

About as fast on one core as a matrix product and a search for the largest, but without threads that
wait for each other, and with the same bits for a row alone as among others, on any machine.
"""

# Numba reads the types of arguments from the signature below, not from annotations.
# mypy: disallow-untyped-defs=False

import numpy as np
from numba import types

from walkforge.base import compile_kernel

_TABLE = types.Array(types.float32, 2, "C", readonly=True)
_TOKENS = types.Array(types.uint16, 1, "C")


@compile_kernel(_TABLE, _TABLE, _TOKENS)
def nearest_code(x, centres, tokens):
    """Write into `tokens` (n,) which of `centres` (5, V) is nearest to each row of x (n, 5).

    By the sum of squares in float32, added from the first number to the last; of equal ones the
    first. Rows must be finite.
    """
    distance = np.empty(centres.shape[1], dtype=np.float32)
    # What is not negative has the same order as its bits, and integers compare several at a time.
    bits = distance.view(np.int32)
    for row in range(x.shape[0]):
        move, body, upper, lower, volume = x[row, 0], x[row, 1], x[row, 2], x[row, 3], x[row, 4]
        for code in range(centres.shape[1]):
            a = centres[0, code] - move
            b = centres[1, code] - body
            c = centres[2, code] - upper
            d = centres[3, code] - lower
            e = centres[4, code] - volume
            distance[code] = a * a + b * b + c * c + d * d + e * e
        least = bits[0]
        for code in range(1, centres.shape[1]):
            least = min(least, bits[code])
        code = 0
        while bits[code] != least:
            code += 1
        tokens[row] = code
