# mypy: ignore-errors
# ruff: noqa: RUF005, SIM108
# pyright: reportMissingImports=false, reportIndexIssue=false, reportOperatorIssue=false
# pyright: reportArgumentType=false, reportCallIssue=false, reportAttributeAccessIssue=false
"""Projected rows to heads in one pass: gather, short convolution, SiLU, unit length.

``W`` is the width of the convolution, 1 for none. A program walks down ``BT`` runs of ``TILES``
rows each at once, whole heads of them, so the norm needs no second pass and a row is read once: the
``W - 1`` rows before it stay in registers (``history``, nearest first), and ``AHEAD`` rows of a
run are under way. The gradient of the taps is summed within each run, and over runs at the end.
Segments begin in few programs, which are ``mixed``; the others look at no places and no tails.

Backward there is one pass to the gradient of the convolution's output, and one that gathers it
back to the rows, or tokens, it came from.
"""

import triton
import triton.language as tl


@triton.jit
def load_rows(x, at, mask, channel, stride):
    """Return rows as they lie, zero where masked."""
    spot = at.to(tl.int64)[:, None] * stride + channel[None, :]
    return tl.load(x + spot, mask=mask[:, None], other=0.0)


@triton.jit
def locate_rows(source, at, mask, GATHERS: tl.constexpr):
    """Return where the rows ``at`` lie in what they come from."""
    if GATHERS:
        found = tl.load(source + at, mask=mask, other=0)
    else:
        found = at
    return found


@triton.jit
def load_taps(weight, channel, W: tl.constexpr):
    """Return the taps of the convolution, that of the row itself first."""
    taps = ()
    for shift in tl.static_range(W):
        taps = taps + (tl.load(weight + channel * W + W - 1 - shift),)
    return taps


@triton.jit
def is_mixed(place, count, W: tl.constexpr):
    """Whether one of ``count`` rows from ``place`` on lies in the first ``W - 1`` of a segment."""
    return tl.load(place + count - 1) < count + W - 2


@triton.jit
def earlier_history(
    x, source, begin, at, left, channel, stride, W: tl.constexpr, GATHERS: tl.constexpr
):  # fmt: skip
    """Return the ``W - 1`` rows before each of the rows ``at``, whatever segment they are of."""
    history = ()
    for shift in tl.static_range(1, W):
        mask = (begin + at >= shift) & (at - shift < left)
        taken = locate_rows(source, at - shift, mask, GATHERS)
        history = history + (load_rows(x, taken, mask, channel, stride).to(tl.float32),)
    return history


@triton.jit
def begun_history(
    history, tails, segment, at, p, inside, channel, C: tl.constexpr, W: tl.constexpr
):  # fmt: skip
    """Return ``history`` with the tail where the segment of a row at place ``p`` begins later."""
    s = tl.load(segment + at, mask=inside, other=0)
    begun = ()
    for shift in tl.static_range(1, W):
        mask = inside & (p < shift)
        old = load_rows(tails, s * (W - 1) + W - 1 + p - shift, mask, channel, C).to(tl.float32)
        begun = begun + (tl.where(mask[:, None], old, history[shift - 1]),)
    return begun


@triton.jit
def first_history(
    x, source, tails, segment, place, begin, first, left, channel, stride,
    C: tl.constexpr, W: tl.constexpr, GATHERS: tl.constexpr,
):  # fmt: skip
    """Return the rows before a program's ``first``, tails included, and whether it is mixed."""
    history = earlier_history(x, source, begin, first, left, channel, stride, W, GATHERS)
    mixed = is_mixed(place, left, W)
    if mixed:
        p = tl.load(place + first, mask=first < left, other=W).to(tl.int32)
        history = begun_history(history, tails, segment, first, p, first < left, channel, C, W)
    return history, mixed


@triton.jit
def next_history(
    history, tails, segment, place, at, inside, channel, mixed, C: tl.constexpr, W: tl.constexpr
):  # fmt: skip
    """Return ``history`` for the rows ``at``, some of which may begin a segment if ``mixed``."""
    if mixed:
        p = tl.load(place + at, mask=inside, other=W).to(tl.int32)
        if tl.min(p) == 0:
            history = begun_history(history, tails, segment, at, p, inside, channel, C, W)
    return history


@triton.jit
def added_slopes(slopes, back, found, history, W: tl.constexpr):
    """Return the gradients of the taps with those of rows ``found``, whose own is ``back``."""
    added = (slopes[0] + back * found,)
    for shift in tl.static_range(1, W):
        added = added + (slopes[shift] + back * history[shift - 1],)
    return added


@triton.jit
def silu_gradient(total, wanted, UNIT: tl.constexpr, EPS: tl.constexpr):
    """Return the gradient of ``total``, from that of its SiLU at length one if ``UNIT``."""
    share = tl.sigmoid(total)
    out = total * share
    if UNIT:
        inverse = tl.rsqrt(tl.sum(out * out, axis=1) + EPS)
        along = tl.sum(wanted * out, axis=1) * inverse * inverse
        wanted = (wanted - out * along[:, None]) * inverse[:, None]
    return wanted * share * (1 + total * (1 - share))


@triton.jit
def convolved(found, history, taps, W: tl.constexpr):
    """Return the convolution at rows ``found`` with those before them."""
    total = found
    if W > 1:
        total = found * taps[0][None, :]
        for shift in tl.static_range(1, W):
            total += history[shift - 1] * taps[shift][None, :]
    return total


@triton.jit
def heads_kernel(
    x, source, weight, tails, segment, place, y, stride, rows,
    H: tl.constexpr, D: tl.constexpr, W: tl.constexpr, BT: tl.constexpr, TILES: tl.constexpr,
    AHEAD: tl.constexpr, GATHERS: tl.constexpr, UNIT: tl.constexpr, EPS: tl.constexpr,
):  # fmt: skip
    """Write ``y [R, H, D]``: ``silu(conv(x))``, each head at length one if ``UNIT``."""
    tl.static_assert(TILES % AHEAD == 0)
    begin = tl.program_id(0).to(tl.int64) * (BT * TILES)
    channel = tl.program_id(1) * D + tl.arange(0, D)
    left = tl.minimum(rows - begin, BT * TILES).to(tl.int32)
    first = tl.arange(0, BT) * TILES
    y += begin * (H * D)
    if GATHERS:
        source += begin
    else:
        x += begin * stride
    taps, history, mixed = (), (), False
    if W > 1:
        place, segment = place + begin, segment + begin
        taps = load_taps(weight, channel, W)
        history, mixed = first_history(x, source, tails, segment, place, begin, first, left,
                                       channel, stride, H * D, W, GATHERS)  # fmt: skip
    coming = ()
    taken = locate_rows(source, first, first < left, GATHERS)
    for step in tl.static_range(AHEAD):
        coming = coming + (load_rows(x, taken, first + step < left, channel, stride),)
        taken = locate_rows(source, first + step + 1, first + step + 1 < left, GATHERS)
    for lap in range(0, TILES, AHEAD):
        for step in tl.static_range(AHEAD):
            at = first + lap + step
            inside = at < left
            found = coming[0].to(tl.float32)
            mask = (at + AHEAD < left) & (lap + step + AHEAD < TILES)
            coming = coming[1:] + (load_rows(x, taken, mask, channel, stride),)
            taken = locate_rows(source, at + AHEAD + 1, at + AHEAD + 1 < left, GATHERS)
            if W > 1:
                history = next_history(history, tails, segment, place, at, inside, channel, mixed,
                                       H * D, W)  # fmt: skip
            total = convolved(found, history, taps, W)
            out = total * tl.sigmoid(total)
            if UNIT:
                out *= tl.rsqrt(tl.sum(out * out, axis=1) + EPS)[:, None]
            spot = at[:, None] * (H * D) + channel[None, :]
            tl.store(y + spot, out.to(y.dtype.element_ty), mask=inside[:, None])
            if W > 1:
                history = (found,) + history[: W - 2]


@triton.jit
def heads_gradient_kernel(
    x, source, weight, tails, segment, place, dy, dout, dweight, stride, out_stride, rows,
    H: tl.constexpr, D: tl.constexpr, W: tl.constexpr, BT: tl.constexpr, TILES: tl.constexpr,
    AHEAD: tl.constexpr, GATHERS: tl.constexpr, UNIT: tl.constexpr, EPS: tl.constexpr,
):  # fmt: skip
    """Write ``dout [R, H * D]``, the gradient of the convolution's output.

    ``dweight [programs, H * D, W]`` gets the part of a program's rows.
    """
    tl.static_assert(TILES % AHEAD == 0)
    program = tl.program_id(0).to(tl.int64)
    begin = program * (BT * TILES)
    channel = tl.program_id(1) * D + tl.arange(0, D)
    left = tl.minimum(rows - begin, BT * TILES).to(tl.int32)
    first = tl.arange(0, BT) * TILES
    dy += begin * (H * D)
    dout += begin * out_stride
    if GATHERS:
        source += begin
    else:
        x += begin * stride
    taps, history, mixed = (), (), False
    if W > 1:
        place, segment = place + begin, segment + begin
        taps = load_taps(weight, channel, W)
        history, mixed = first_history(x, source, tails, segment, place, begin, first, left,
                                       channel, stride, H * D, W, GATHERS)  # fmt: skip
    slopes = ()
    if W > 1:
        for _ in tl.static_range(W):
            slopes = slopes + (tl.zeros([BT, D], dtype=tl.float32),)
    coming, wanting = (), ()
    taken = locate_rows(source, first, first < left, GATHERS)
    for step in tl.static_range(AHEAD):
        inside = first + step < left
        coming = coming + (load_rows(x, taken, inside, channel, stride),)
        wanting = wanting + (load_rows(dy, first + step, inside, channel, H * D),)
        taken = locate_rows(source, first + step + 1, first + step + 1 < left, GATHERS)
    for lap in range(0, TILES, AHEAD):
        for step in tl.static_range(AHEAD):
            at = first + lap + step
            inside = at < left
            found, wanted = coming[0].to(tl.float32), wanting[0].to(tl.float32)
            mask = (at + AHEAD < left) & (lap + step + AHEAD < TILES)
            coming = coming[1:] + (load_rows(x, taken, mask, channel, stride),)
            wanting = wanting[1:] + (load_rows(dy, at + AHEAD, mask, channel, H * D),)
            taken = locate_rows(source, at + AHEAD + 1, at + AHEAD + 1 < left, GATHERS)
            if W > 1:
                history = next_history(history, tails, segment, place, at, inside, channel, mixed,
                                       H * D, W)  # fmt: skip
            back = silu_gradient(convolved(found, history, taps, W), wanted, UNIT, EPS)
            spot = at[:, None] * out_stride + channel[None, :]
            tl.store(dout + spot, back.to(dout.dtype.element_ty), mask=inside[:, None])
            if W > 1:
                slopes = added_slopes(slopes, back, found, history, W)
                history = (found,) + history[: W - 2]
    if W > 1:
        for shift in tl.static_range(W):
            spot = (program * (H * D) + channel) * W + W - 1 - shift
            tl.store(dweight + spot, tl.sum(slopes[shift], axis=0))


@triton.jit
def heads_return_kernel(
    dout, weight, place, row, dx, in_stride, out_stride, items, rows,
    H: tl.constexpr, D: tl.constexpr, W: tl.constexpr, BT: tl.constexpr, TILES: tl.constexpr,
    SLOTS: tl.constexpr,
):  # fmt: skip
    """Write ``dx``: the transposed convolution of ``dout``, summed over each token's rows.

    With ``SLOTS`` 0 an item is a row; otherwise it is a token, its rows in ``row [N, SLOTS]``.
    """
    begin = tl.program_id(0).to(tl.int64) * (BT * TILES)
    channel = tl.program_id(1) * D + tl.arange(0, D)
    taps = ()
    if W > 1:
        taps = load_taps(weight, channel, W)
    for tile in range(TILES):
        i = begin + tile * BT + tl.arange(0, BT)
        inside = i < items
        total = tl.zeros([BT, D], dtype=tl.float32)
        for slot in tl.static_range(max(SLOTS, 1)):
            n = i
            if SLOTS > 0:
                n = tl.load(row + i * SLOTS + slot, mask=inside, other=0)
            for shift in tl.static_range(W):
                later = n + shift
                within = inside & (later < rows)
                found = load_rows(dout, later, within, channel, in_stride).to(tl.float32)
                if W > 1:
                    if shift > 0:
                        # A later row of the same segment lies at least `shift` rows into it.
                        meets = tl.load(place + later, mask=within, other=-1) >= shift
                        found = tl.where(meets[:, None], found, 0.0)
                    found *= taps[shift][None, :]
                total += found
        spot = i[:, None] * out_stride + channel[None, :]
        tl.store(dx + spot, total.to(dx.dtype.element_ty), mask=inside[:, None])
