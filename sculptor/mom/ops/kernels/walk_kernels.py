# mypy: ignore-errors
# pyright: reportMissingImports=false, reportIndexIssue=false, reportOperatorIssue=false
# pyright: reportArgumentType=false, reportCallIssue=false, reportAttributeAccessIssue=false
"""The serial passes of the gated delta rule, chunk after chunk of a piece, on and back.

Equations as in `delta_forward` and `delta_backward`. What chunks meet (``states dstates``) is
``[n, HS, K, V]``, the ``HS`` heads from ``head`` on, so that the heads of many rows can go one
after the other through the same memory.
"""

import triton
import triton.language as tl


@triton.jit
def find_walk(heads, tiles: tl.constexpr):
    """Return value tile, head and piece of a program of a serial pass.

    The last pieces are begun first, for all heads: the shared memory, which has the most rows,
    comes last, and a card that begins a long chain late stands idle while it ends.
    """
    at = tl.num_programs(0) - 1 - tl.program_id(0)
    return at % tiles, at // tiles % heads, (at // (tiles * heads)).to(tl.int64)


@triton.jit
def chunk_states_kernel(
    k, u, w, total, state, final, states, y, begin, end, first, head, heads,
    H: tl.constexpr, HS: tl.constexpr, K: tl.constexpr, V: tl.constexpr, C: tl.constexpr,
    BV: tl.constexpr, KIND: tl.constexpr, EMPTY: tl.constexpr, KEEPS: tl.constexpr,
    PRECISION: tl.constexpr,
):  # fmt: skip
    """Carry one piece's state through its chunks, ``BV`` value channels at a time.

    ``KIND`` is ``pass`` to keep what every chunk met and wrote; ``rest`` and, from the identity
    with nothing written, ``map`` for ``final`` alone: a piece turns S into ``map @ S + rest``.
    ``EMPTY`` begins at nothing in place of ``state``, and only ``KEEPS`` writes ``final``.
    """
    tile, here, p = find_walk(heads, V // BV)
    h = head + here
    key, at = tl.arange(0, K), tl.arange(0, C)
    value = tile * BV + tl.arange(0, BV)
    low = tl.load(begin + p)
    length = (tl.load(end + p) - low).to(tl.int32)
    lead = low * H + h
    k += lead * K
    w += lead * K
    u += lead * V
    y += lead * V
    total += lead
    states += (tl.load(first + p) * HS + here) * K * V
    spot = key[:, None] * V + value[None, :]
    by_key = at[:, None] * (H * K) + key[None, :]
    by_value = at[:, None] * (H * V) + value[None, :]
    now = tl.zeros([K, BV], dtype=tl.float32)
    if not EMPTY:
        now += tl.load(state + (p * H + h) * K * V + spot)
    if KIND == "map":
        now += tl.where(key[:, None] == value[None, :], 1.0, 0.0)
    for done in range(0, length, C):
        left = length - done
        inside = at < left
        if KIND == "pass":
            tl.store(states + spot, now.to(states.dtype.element_ty))
        erase = tl.load(w + by_key, mask=inside[:, None], other=0.0)
        fresh = -tl.dot(erase, now.to(erase.dtype), input_precision=PRECISION)
        if KIND != "map":
            fresh += tl.load(u + by_value, mask=inside[:, None], other=0.0).to(tl.float32)
        if KIND == "pass":
            tl.store(y + by_value, fresh.to(y.dtype.element_ty), mask=inside[:, None])
        run = tl.load(total + at * H, mask=inside, other=0.0)
        last = tl.load(total + (tl.minimum(left, C) - 1) * H)
        keys = tl.load(k + by_key, mask=inside[:, None], other=0.0)
        keep = tl.where(inside, tl.exp(last - run), 0.0)
        fresh = (fresh * keep[:, None]).to(keys.dtype)
        now = now * tl.exp(last)
        now += tl.dot(tl.trans(keys), fresh, input_precision=PRECISION)
        k += C * H * K
        w += C * H * K
        u += C * H * V
        y += C * H * V
        total += C * H
        states += HS * K * V
    if KEEPS:
        tl.store(final + (p * H + h) * K * V + spot, now)


@triton.jit
def met_states_kernel(
    k, y, total, state, states, begin, end, first, head, heads,
    H: tl.constexpr, HS: tl.constexpr, K: tl.constexpr, V: tl.constexpr, C: tl.constexpr,
    BK: tl.constexpr, BV: tl.constexpr, EMPTY: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """Write again what every chunk of a piece met, from what was written: ``S' = e^G S + Ko^T Y``.

    No part of a state asks another, so a program carries ``[BK, BV]`` of it.
    """
    tile, here, p = find_walk(heads, (K // BK) * (V // BV))
    h = head + here
    at = tl.arange(0, C)
    key = tile // (V // BV) * BK + tl.arange(0, BK)
    value = tile % (V // BV) * BV + tl.arange(0, BV)
    low = tl.load(begin + p)
    length = (tl.load(end + p) - low).to(tl.int32)
    lead = low * H + h
    k += lead * K
    y += lead * V
    total += lead
    states += (tl.load(first + p) * HS + here) * K * V
    spot = key[:, None] * V + value[None, :]
    by_key = at[:, None] * (H * K) + key[None, :]
    by_value = at[:, None] * (H * V) + value[None, :]
    now = tl.zeros([BK, BV], dtype=tl.float32)
    if not EMPTY:
        now += tl.load(state + (p * H + h) * K * V + spot)
    for done in range(0, length, C):
        left = length - done
        inside = at < left
        tl.store(states + spot, now.to(states.dtype.element_ty))
        run = tl.load(total + at * H, mask=inside, other=0.0)
        last = tl.load(total + (tl.minimum(left, C) - 1) * H)
        keys = tl.load(k + by_key, mask=inside[:, None], other=0.0)
        fresh = tl.load(y + by_value, mask=inside[:, None], other=0.0).to(tl.float32)
        fresh = (fresh * tl.where(inside, tl.exp(last - run), 0.0)[:, None]).to(keys.dtype)
        now = now * tl.exp(last)
        now += tl.dot(tl.trans(keys), fresh, input_precision=PRECISION)
        k += C * H * K
        y += C * H * V
        total += C * H
        states += HS * K * V


@triton.jit
def state_gradient_kernel(
    q, k, w, do, dy, total, dfinal, dstate, dstates, begin, end, first, scale, head, heads,
    H: tl.constexpr, HS: tl.constexpr, K: tl.constexpr, V: tl.constexpr, C: tl.constexpr,
    BV: tl.constexpr, KIND: tl.constexpr, EMPTY: tl.constexpr, KEEPS: tl.constexpr,
    PRECISION: tl.constexpr,
):  # fmt: skip
    """Carry the state's gradient back through a piece.

    ``KIND`` is ``pass`` to complete ``dY`` on the way, ``rest`` for ``dstate`` alone: a piece
    turns dS' into ``map^T @ dS' + rest``. ``EMPTY`` begins at nothing in place of ``dfinal``, and
    only ``KEEPS`` writes ``dstate``.
    """
    tile, here, p = find_walk(heads, V // BV)
    h = head + here
    key, at = tl.arange(0, K), tl.arange(0, C)
    value = tile * BV + tl.arange(0, BV)
    low = tl.load(begin + p)
    length = (tl.load(end + p) - low).to(tl.int32)
    chunks = (length + C - 1) // C
    behind = tl.maximum(chunks - 1, 0).to(tl.int64)
    lead = (low + behind * C) * H + h
    q += lead * K
    k += lead * K
    w += lead * K
    do += lead * V
    dy += lead * V
    total += lead
    dstates += ((tl.load(first + p) + behind) * HS + here) * K * V
    spot = key[:, None] * V + value[None, :]
    by_key = at[:, None] * (H * K) + key[None, :]
    by_value = at[:, None] * (H * V) + value[None, :]
    now = tl.zeros([K, BV], dtype=tl.float32)
    if not EMPTY:
        now += tl.load(dfinal + (p * H + h) * K * V + spot)
    for back in range(chunks):
        left = length - (chunks - 1 - back) * C
        inside = at < left
        if KIND == "pass":
            tl.store(dstates + spot, now.to(dstates.dtype.element_ty))
        run = tl.load(total + at * H, mask=inside, other=0.0)
        last = tl.load(total + (tl.minimum(left, C) - 1) * H)
        keys = tl.load(k + by_key, mask=inside[:, None], other=0.0)
        keep = tl.where(inside, tl.exp(last - run), 0.0)
        fresh = tl.load(dy + by_value, mask=inside[:, None], other=0.0).to(tl.float32)
        part = tl.dot(keys, now.to(keys.dtype), input_precision=PRECISION)
        fresh += part * keep[:, None]
        if KIND == "pass":
            tl.store(dy + by_value, fresh.to(dy.dtype.element_ty), mask=inside[:, None])
        erase = tl.load(w + by_key, mask=inside[:, None], other=0.0)
        queries = tl.load(q + by_key, mask=inside[:, None], other=0.0)
        answer = tl.load(do + by_value, mask=inside[:, None], other=0.0)
        answer = (answer * (scale * tl.exp(run))[:, None]).to(queries.dtype)
        now = now * tl.exp(last)
        now += tl.dot(tl.trans(queries), answer, input_precision=PRECISION)
        now -= tl.dot(tl.trans(erase), fresh.to(erase.dtype), input_precision=PRECISION)
        q -= C * H * K
        k -= C * H * K
        w -= C * H * K
        do -= C * H * V
        dy -= C * H * V
        total -= C * H
        dstates -= HS * K * V
    if KEEPS:
        tl.store(dstate + (p * H + h) * K * V + spot, now)
