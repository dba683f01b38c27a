# mypy: allow-untyped-defs, allow-incomplete-defs
"""Recurrent walks as Triton kernels: a program keeps its lane's recurrent weights for all steps.

A program walks `ROWS` rows of one lane; it reads only what was there before the launch and what
it wrote itself, so programs never wait for each other. There is one [HP, HP] tile per gate, HP
being the next power of two; what lies beyond H or beyond the last row is zero when read and never
written. The numbers of the next step are asked for before the products of this one: memory
answers about as late as a step takes.

Gates are computed in float32 and rounded once, when stored. Products take operands of the stored
type, as the batched walks do.

Shapes: L lanes, T steps, B rows, H hidden, S = T + 1 states (index 0 is zero),
G gates (LSTM 4 H: input, forget, new, output; GRU 2 H: reset, update)
"""

import triton
import triton.language as tl


@triton.jit
def _sigmoid(x):
    return 1.0 / (1.0 + tl.exp(-x))


@triton.jit
def _tanh(x):
    # exp overflows to infinity for large |x|, which leaves exactly -1 or 1; off by 1e-7 near zero.
    return 2.0 / (1.0 + tl.exp(-2.0 * x)) - 1.0


@triton.jit
def _matrix(base, k_stride, j_stride, H: tl.constexpr, HP: tl.constexpr):
    """Read a matrix [H, H] with these strides as a tile [HP, HP]."""
    k = tl.arange(0, HP)[:, None]
    j = tl.arange(0, HP)[None, :]
    return tl.load(base + k * k_stride + j * j_stride, mask=(k < H) & (j < H), other=0.0)


@triton.jit
def _read(tile, inside):
    return tl.load(tile, mask=inside, other=0.0)


@triton.jit
def _add_product(total, left, right, PRECISION: tl.constexpr):
    """Return total + left @ right in float32."""
    if PRECISION == "widened":
        # Triton's interpreter multiplies no bfloat16; widened, the products are the same numbers.
        total = tl.dot(left.to(tl.float32), right.to(tl.float32), total, input_precision="ieee")
    else:
        total = tl.dot(left, right, total, input_precision=PRECISION)
    return total


@triton.jit(do_not_specialize=["T", "B"])
def lstm_walk_kernel(
    gates_LTBG, hidden_LHG, states_LSBH, cells_LSBH, T, B,
    H: tl.constexpr, HP: tl.constexpr, ROWS: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    lane = tl.program_id(0).to(tl.int64)
    rows = tl.program_id(1) * ROWS + tl.arange(0, ROWS)[:, None]
    columns = tl.arange(0, HP)[None, :]
    inside = (rows < B) & (columns < H)
    at_gate = rows * (4 * H) + columns
    at_state = rows * H + columns
    weights = hidden_LHG + lane * (4 * H * H)
    hidden_i = _matrix(weights, 4 * H, 1, H, HP)
    hidden_f = _matrix(weights + H, 4 * H, 1, H, HP)
    hidden_g = _matrix(weights + 2 * H, 4 * H, 1, H, HP)
    hidden_o = _matrix(weights + 3 * H, 4 * H, 1, H, HP)
    gates = gates_LTBG + lane * T * B * (4 * H)
    state = states_LSBH + lane * (T + 1) * B * H
    cells = cells_LSBH + lane * (T + 1) * B * H
    cell = tl.zeros([ROWS, HP], tl.float32)
    h = cell.to(states_LSBH.dtype.element_ty)
    tl.store(state + at_state, h, mask=inside)
    tl.store(cells + at_state, cell, mask=inside)
    next_i = _read(gates + at_gate, inside)
    next_f = _read(gates + H + at_gate, inside)
    next_g = _read(gates + 2 * H + at_gate, inside)
    next_o = _read(gates + 3 * H + at_gate, inside)
    for t in range(T):
        i, f = next_i.to(tl.float32), next_f.to(tl.float32)
        g, o = next_g.to(tl.float32), next_o.to(tl.float32)
        ahead = gates + B * (4 * H)
        more = inside & (t + 1 < T)
        next_i = _read(ahead + at_gate, more)
        next_f = _read(ahead + H + at_gate, more)
        next_g = _read(ahead + 2 * H + at_gate, more)
        next_o = _read(ahead + 3 * H + at_gate, more)
        i = _sigmoid(_add_product(i, h, hidden_i, PRECISION))
        f = _sigmoid(_add_product(f, h, hidden_f, PRECISION))
        g = _tanh(_add_product(g, h, hidden_g, PRECISION))
        o = _sigmoid(_add_product(o, h, hidden_o, PRECISION))
        cell = f * cell + i * g
        h = (o * _tanh(cell)).to(h.dtype)
        tl.store(gates + at_gate, i.to(h.dtype), mask=inside)
        tl.store(gates + H + at_gate, f.to(h.dtype), mask=inside)
        tl.store(gates + 2 * H + at_gate, g.to(h.dtype), mask=inside)
        tl.store(gates + 3 * H + at_gate, o.to(h.dtype), mask=inside)
        state += B * H
        cells += B * H
        tl.store(state + at_state, h, mask=inside)
        tl.store(cells + at_state, cell, mask=inside)
        gates = ahead


@triton.jit(do_not_specialize=["T", "B"])
def lstm_walk_back_kernel(
    gates_LTBG, cells_LSBH, hidden_LHG, d_states_LTBH, d_last_LBH, d_gates_LTBG, T, B,
    H: tl.constexpr, HP: tl.constexpr, ROWS: tl.constexpr, PRECISION: tl.constexpr,
    D_STATES: tl.constexpr, D_LAST: tl.constexpr,
):  # fmt: skip
    lane = tl.program_id(0).to(tl.int64)
    rows = tl.program_id(1) * ROWS + tl.arange(0, ROWS)[:, None]
    columns = tl.arange(0, HP)[None, :]
    inside = (rows < B) & (columns < H)
    at_gate = rows * (4 * H) + columns
    at_state = rows * H + columns
    weights = hidden_LHG + lane * (4 * H * H)
    hidden_i = _matrix(weights, 1, 4 * H, H, HP)
    hidden_f = _matrix(weights + H, 1, 4 * H, H, HP)
    hidden_g = _matrix(weights + 2 * H, 1, 4 * H, H, HP)
    hidden_o = _matrix(weights + 3 * H, 1, 4 * H, H, HP)
    last = (lane * T + T - 1) * B
    gates = gates_LTBG + last * (4 * H)
    d_gates = d_gates_LTBG + last * (4 * H)
    d_state = d_states_LTBH + last * H
    cells = cells_LSBH + (lane * (T + 1) + T - 1) * B * H
    nothing = tl.zeros([ROWS, HP], tl.float32)
    d_cell = nothing
    d_h = nothing
    if D_LAST:
        d_h += _read(d_last_LBH + lane * B * H + at_state, inside).to(tl.float32)
    cell = _read(cells + B * H + at_state, inside)
    next_cell = _read(cells + at_state, inside)
    next_i = _read(gates + at_gate, inside)
    next_f = _read(gates + H + at_gate, inside)
    next_g = _read(gates + 2 * H + at_gate, inside)
    next_o = _read(gates + 3 * H + at_gate, inside)
    if D_STATES:
        next_d = _read(d_state + at_state, inside)
    for t in range(T):
        i, f = next_i.to(tl.float32), next_f.to(tl.float32)
        g, o = next_g.to(tl.float32), next_o.to(tl.float32)
        before = next_cell
        if D_STATES:
            d_h += next_d.to(tl.float32)
        more = inside & (t + 1 < T)
        gates -= B * (4 * H)
        cells -= B * H
        next_i = _read(gates + at_gate, more)
        next_f = _read(gates + H + at_gate, more)
        next_g = _read(gates + 2 * H + at_gate, more)
        next_o = _read(gates + 3 * H + at_gate, more)
        next_cell = _read(cells + at_state, more)
        if D_STATES:
            d_state -= B * H
            next_d = _read(d_state + at_state, more)
        squashed = _tanh(cell)
        d_o = (d_h * squashed * o * (1.0 - o)).to(next_o.dtype)
        d_cell += d_h * o * (1.0 - squashed * squashed)
        d_i = (d_cell * g * i * (1.0 - i)).to(next_o.dtype)
        d_f = (d_cell * before * f * (1.0 - f)).to(next_o.dtype)
        d_g = (d_cell * i * (1.0 - g * g)).to(next_o.dtype)
        d_cell *= f
        cell = before
        d_h = _add_product(nothing, d_i, hidden_i, PRECISION)
        d_h = _add_product(d_h, d_f, hidden_f, PRECISION)
        d_h = _add_product(d_h, d_g, hidden_g, PRECISION)
        d_h = _add_product(d_h, d_o, hidden_o, PRECISION)
        tl.store(d_gates + at_gate, d_i, mask=inside)
        tl.store(d_gates + H + at_gate, d_f, mask=inside)
        tl.store(d_gates + 2 * H + at_gate, d_g, mask=inside)
        tl.store(d_gates + 3 * H + at_gate, d_o, mask=inside)
        d_gates -= B * (4 * H)


@triton.jit(do_not_specialize=["T", "B"])
def gru_walk_kernel(
    gates_LTBG, news_LTBH, hidden_gates_LHG, hidden_new_LHH, recalled_bias_L1H,
    states_LSBH, recalled_LTBH, T, B,
    H: tl.constexpr, HP: tl.constexpr, ROWS: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    lane = tl.program_id(0).to(tl.int64)
    rows = tl.program_id(1) * ROWS + tl.arange(0, ROWS)[:, None]
    columns = tl.arange(0, HP)[None, :]
    inside = (rows < B) & (columns < H)
    at_gate = rows * (2 * H) + columns
    at_state = rows * H + columns
    weights = hidden_gates_LHG + lane * (2 * H * H)
    hidden_r = _matrix(weights, 2 * H, 1, H, HP)
    hidden_z = _matrix(weights + H, 2 * H, 1, H, HP)
    hidden_q = _matrix(hidden_new_LHH + lane * (H * H), H, 1, H, HP)
    bias = _read(recalled_bias_L1H + lane * H + columns, columns < H).to(tl.float32)
    gates = gates_LTBG + lane * T * B * (2 * H)
    news = news_LTBH + lane * T * B * H
    recalled = recalled_LTBH + lane * T * B * H
    state = states_LSBH + lane * (T + 1) * B * H
    nothing = tl.zeros([ROWS, HP], tl.float32)
    h = nothing.to(states_LSBH.dtype.element_ty)
    tl.store(state + at_state, h, mask=inside)
    next_r = _read(gates + at_gate, inside)
    next_z = _read(gates + H + at_gate, inside)
    next_n = _read(news + at_state, inside)
    for t in range(T):
        r, z, n = next_r.to(tl.float32), next_z.to(tl.float32), next_n.to(tl.float32)
        gates_ahead = gates + B * (2 * H)
        news_ahead = news + B * H
        more = inside & (t + 1 < T)
        next_r = _read(gates_ahead + at_gate, more)
        next_z = _read(gates_ahead + H + at_gate, more)
        next_n = _read(news_ahead + at_state, more)
        r = _sigmoid(_add_product(r, h, hidden_r, PRECISION))
        z = _sigmoid(_add_product(z, h, hidden_z, PRECISION))
        q = _add_product(nothing + bias, h, hidden_q, PRECISION)
        n = _tanh(n + r * q)
        h = (n + z * (h.to(tl.float32) - n)).to(h.dtype)
        tl.store(gates + at_gate, r.to(h.dtype), mask=inside)
        tl.store(gates + H + at_gate, z.to(h.dtype), mask=inside)
        tl.store(news + at_state, n.to(h.dtype), mask=inside)
        tl.store(recalled + at_state, q.to(h.dtype), mask=inside)
        state += B * H
        tl.store(state + at_state, h, mask=inside)
        gates = gates_ahead
        news = news_ahead
        recalled += B * H


@triton.jit(do_not_specialize=["T", "B"])
def gru_walk_back_kernel(
    gates_LTBG, news_LTBH, recalled_LTBH, states_LSBH, hidden_gates_LHG, hidden_new_LHH,
    d_states_LTBH, d_last_LBH, d_gates_LTBG, d_news_LTBH, d_recalled_LTBH, T, B,
    H: tl.constexpr, HP: tl.constexpr, ROWS: tl.constexpr, PRECISION: tl.constexpr,
    D_STATES: tl.constexpr, D_LAST: tl.constexpr,
):  # fmt: skip
    lane = tl.program_id(0).to(tl.int64)
    rows = tl.program_id(1) * ROWS + tl.arange(0, ROWS)[:, None]
    columns = tl.arange(0, HP)[None, :]
    inside = (rows < B) & (columns < H)
    at_gate = rows * (2 * H) + columns
    at_state = rows * H + columns
    weights = hidden_gates_LHG + lane * (2 * H * H)
    hidden_r = _matrix(weights, 1, 2 * H, H, HP)
    hidden_z = _matrix(weights + H, 1, 2 * H, H, HP)
    hidden_q = _matrix(hidden_new_LHH + lane * (H * H), 1, H, H, HP)
    last = (lane * T + T - 1) * B
    gates = gates_LTBG + last * (2 * H)
    d_gates = d_gates_LTBG + last * (2 * H)
    steps = last * H
    state = states_LSBH + (lane * (T + 1) + T - 1) * B * H
    d_h = tl.zeros([ROWS, HP], tl.float32)
    if D_LAST:
        d_h += _read(d_last_LBH + lane * B * H + at_state, inside).to(tl.float32)
    next_r = _read(gates + at_gate, inside)
    next_z = _read(gates + H + at_gate, inside)
    next_n = _read(news_LTBH + steps + at_state, inside)
    next_q = _read(recalled_LTBH + steps + at_state, inside)
    next_h = _read(state + at_state, inside)
    if D_STATES:
        next_d = _read(d_states_LTBH + steps + at_state, inside)
    for t in range(T):
        r, z, n = next_r.to(tl.float32), next_z.to(tl.float32), next_n.to(tl.float32)
        q, h = next_q.to(tl.float32), next_h.to(tl.float32)
        if D_STATES:
            d_h += next_d.to(tl.float32)
        more = inside & (t + 1 < T)
        here = steps
        steps -= B * H
        gates -= B * (2 * H)
        state -= B * H
        next_r = _read(gates + at_gate, more)
        next_z = _read(gates + H + at_gate, more)
        next_n = _read(news_LTBH + steps + at_state, more)
        next_q = _read(recalled_LTBH + steps + at_state, more)
        next_h = _read(state + at_state, more)
        if D_STATES:
            next_d = _read(d_states_LTBH + steps + at_state, more)
        d_z = (d_h * (h - n) * z * (1.0 - z)).to(next_r.dtype)
        kept = d_h * z
        d_n = (d_h - kept) * (1.0 - n * n)
        d_q = (d_n * r).to(next_r.dtype)
        d_r = (d_n * q * r * (1.0 - r)).to(next_r.dtype)
        d_h = _add_product(kept, d_r, hidden_r, PRECISION)
        d_h = _add_product(d_h, d_z, hidden_z, PRECISION)
        d_h = _add_product(d_h, d_q, hidden_q, PRECISION)
        tl.store(d_gates + at_gate, d_r, mask=inside)
        tl.store(d_gates + H + at_gate, d_z, mask=inside)
        tl.store(d_news_LTBH + here + at_state, d_n.to(next_r.dtype), mask=inside)
        tl.store(d_recalled_LTBH + here + at_state, d_q, mask=inside)
        d_gates -= B * (2 * H)
