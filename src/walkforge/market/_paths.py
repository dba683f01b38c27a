"""The recursions of the simulated markets, compiled. numba is imported with this file."""

import math

import numpy as np

from walkforge.base import FloatArray, IntArray, compile_kernel


@compile_kernel()
def shocks(
    noise: FloatArray,
    slope: FloatArray,
    curve: FloatArray,
    edge: float,
    reaction: float,
    memory: float,
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return total shocks, volatilities and patterns (n,) from standardised noise (n,).

    volatility[t] has mean square 1 and follows GARCH(1,1) from the noise before t. The total
    shock is noise[t] + edge * pattern[t - 1]. pattern[t] in (-1, 1) is the tanh of the product
    of two weighted sums of the total shocks up to and including t; `slope` and `curve` (k,) hold
    the weights, the latest shock's first.
    """
    n = len(noise)
    total, volatility, pattern = np.empty(n), np.empty(n), np.empty(n)
    variance, known = 1.0, 0.0
    for t in range(n):
        volatility[t] = math.sqrt(variance)
        total[t] = noise[t] + edge * known
        first, second = 0.0, 0.0
        for lag in range(min(len(slope), t + 1)):
            first += slope[lag] * total[t - lag]
            second += curve[lag] * total[t - lag]
        known = math.tanh(first * second)
        pattern[t] = known
        variance = 1 - reaction - memory + variance * (reaction * noise[t] ** 2 + memory)
    return total, volatility, pattern


@compile_kernel()
def chain(uniform: FloatArray, cumulative: FloatArray) -> IntArray:
    """Return the states (n,) of a Markov chain from uniform draws (n,).

    `cumulative` (k, k) holds each row's transition probabilities, summed up. The first state is
    drawn with equal chances.
    """
    n_states = len(cumulative)
    states = np.empty(len(uniform), np.int64)
    state = int(uniform[0] * n_states)
    for t in range(len(uniform)):
        if t > 0:
            row, state = cumulative[state], 0
            # The last sum may fall short of 1 by rounding; nothing lies beyond it.
            while state < n_states - 1 and uniform[t] >= row[state]:
                state += 1
        states[t] = state
    return states
