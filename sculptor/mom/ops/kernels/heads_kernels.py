# mypy: ignore-errors
# ruff: noqa: RUF005, SIM108
# pyright: reportMissingImports=false, reportIndexIssue=false, reportOperatorIssue=false
# pyright: reportArgumentType=false, reportCallIssue=false, reportAttributeAccessIssue=false
"""Projected rows to heads in one pass: gather, short convolution, SiLU, unit length.

``W`` is the width of the convolution, 1 for none. A program walks down ``BT`` runs of ``TILES``
rows each at once, whole heads of them, so the norm needs no second pass and a row is read once: the
``W - 1`` rows before it stay in registers (``history``, nearest first). ``AHEAD`` rows make a lap,
and the next lap of a run is under way in shared memory: that takes three stages, and five where a
row's place in its source is to be loaded first. Segments begin in few programs, which are
``mixed``; the others look at no places and no tails.

Backward it is one pass too. The gradient of a row is complete ``W - 1`` rows later: until then it
stays in registers (``pending``, nearest first), and a run goes on for that many rows of the next
one, for its last rows' sake alone. The gradient of the taps is summed within each run, and over
runs at the end.
"""

import triton
import triton.language as tl


@triton.jit
def load_rows(x, at, mask, channel, stride):
    """Return rows as they lie, zero where masked."""
    spot = at.to(tl.int64)[:, None] * stride + channel[None, :]
    return tl.load(x + spot, mask=mask[:, None], other=0.0)


@triton.jit
def store_rows(x, rows, at, mask, channel, stride):
    """Write ``rows`` in the dtype of ``x``."""
    spot = at.to(tl.int64)[:, None] * stride + channel[None, :]
    tl.store(x + spot, rows.to(x.dtype.element_ty), mask=mask[:, None])


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
def load_places(place, at, left, mixed, W: tl.constexpr):
    """Return the rows' places in their segments, and whether one is of the first ``W - 1``.

    Behind the last of the rows ``left`` it is as if another segment began. A program that is not
    ``mixed`` looks at no places: ``W`` is as good.
    """
    p = tl.full(at.shape, W, dtype=tl.int32)
    early = False
    if mixed:
        p = tl.load(place + at, mask=at < left, other=0).to(tl.int32)
        p = tl.where(at < left, p, at - left)
        early = tl.min(p) < W - 1
    return p, early


@triton.jit
def first_history(
    x, source, begin, first, left, channel, stride, W: tl.constexpr, GATHERS: tl.constexpr
):  # fmt: skip
    """Return the ``W - 1`` rows before each run, whatever segment they are of."""
    history = ()
    for shift in tl.static_range(1, W):
        mask = (begin + first >= shift) & (first - shift < left)
        taken = locate_rows(source, first - shift, mask, GATHERS)
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
        old = load_rows(tails, s * (W - 1) + W - 1 + p - shift, p < shift, channel, C)
        begun = begun + (tl.where((p < shift)[:, None], old.to(tl.float32), history[shift - 1]),)
    return begun


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
def sigmoid(x):
    """Return the sigmoid without a division, by the square of an inverse root."""
    root = tl.rsqrt(1 + tl.exp2(x * -1.4426950408889634))
    return root * root


@triton.jit
def silu_gradient(total, wanted, UNIT: tl.constexpr, EPS: tl.constexpr):
    """Return the gradient of ``total``, from that of its SiLU at length one if ``UNIT``."""
    share = sigmoid(total)
    out = total * share
    slope = share + out * (1 - share)
    if UNIT:
        inverse = tl.rsqrt(tl.sum(out * out, axis=1) + EPS)
        along = tl.sum(wanted * out, axis=1) * inverse * inverse
        wanted = (wanted - out * along[:, None]) * inverse[:, None]
    return wanted * slope


@triton.jit
def added_slopes(slopes, back, found, history, W: tl.constexpr):
    """Return the gradients of the taps with those of rows ``found``, whose own is ``back``."""
    added = (slopes[0] + back * found,)
    for shift in tl.static_range(1, W):
        added = added + (slopes[shift] + back * history[shift - 1],)
    return added


@triton.jit
def added_pending(pending, back, taps, W: tl.constexpr):
    """Return what rows get that have ``pending``, after the row of ``back``, which is first."""
    added = (back * taps[0][None, :],)
    for shift in tl.static_range(1, W):
        added = added + (pending[shift - 1] + back * taps[shift][None, :],)
    return added


@triton.jit
def store_ended(
    dx, pending, place, at, p, first, channel, stride, W: tl.constexpr, TILES: tl.constexpr
):  # fmt: skip
    """Write ``pending``, which is complete, of each run's segment that ends before the row ``at``.

    Only its rows in the run: ``first`` is where that begins.
    """
    ends = (p == 0) & (at > first)
    last = tl.load(place + at - 1, mask=ends, other=-1).to(tl.int32)
    for shift in tl.static_range(1, W):
        mask = ends & (shift - 1 <= last) & (at - shift >= first) & (at - shift < first + TILES)
        store_rows(dx, pending[shift - 1], at - shift, mask, channel, stride)


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
        history = first_history(x, source, begin, first, left, channel, stride, W, GATHERS)
        mixed = is_mixed(place, left, W)
    # A lap is written out, so that history moves by name and not through registers.
    for lap in tl.range(0, tl.minimum(left, TILES), AHEAD, num_stages=5 if GATHERS else 3):
        for step in tl.static_range(AHEAD):
            at = first + lap + step
            inside = at < left
            taken = locate_rows(source, at, inside, GATHERS)
            found = load_rows(x, taken, inside, channel, stride).to(tl.float32)
            if W > 1:
                p, early = load_places(place, at, left, mixed, W)
                if early:
                    history = begun_history(history, tails, segment, at, p, inside, channel,
                                            H * D, W)  # fmt: skip
            total = convolved(found, history, taps, W)
            out = total * sigmoid(total)
            if UNIT:
                out *= tl.rsqrt(tl.sum(out * out, axis=1) + EPS)[:, None]
            store_rows(y, out, at, inside, channel, H * D)
            if W > 1:
                history = (found,) + history[: W - 2]


@triton.jit
def heads_gradient_kernel(
    x, source, weight, tails, segment, place, dy, dx, dweight, dout, stride, out_stride, rows,
    H: tl.constexpr, D: tl.constexpr, W: tl.constexpr, BT: tl.constexpr, TILES: tl.constexpr,
    AHEAD: tl.constexpr, GATHERS: tl.constexpr, UNIT: tl.constexpr, KEEPS: tl.constexpr,
    EPS: tl.constexpr,
):  # fmt: skip
    """Write ``dx [R, H * D]``, the gradient of each row, and that of the taps.

    ``dweight [programs, W, H * D]`` gets the part of a program's rows. If ``KEEPS``, the gradient
    of the convolution's output at the first ``W - 1`` rows of each segment goes to
    ``dout [R, H * D]``.
    """
    program = tl.program_id(0).to(tl.int64)
    begin = program * (BT * TILES)
    channel = tl.program_id(1) * D + tl.arange(0, D)
    left = tl.minimum(rows - begin, BT * TILES + W - 1).to(tl.int32)
    first = tl.arange(0, BT) * TILES
    dy += begin * (H * D)
    dx += begin * out_stride
    if KEEPS:
        dout += begin * (H * D)
    if GATHERS:
        source += begin
    else:
        x += begin * stride
    taps, history, pending, slopes, mixed = (), (), (), (), False
    if W > 1:
        place, segment = place + begin, segment + begin
        taps = load_taps(weight, channel, W)
        history = first_history(x, source, begin, first, left, channel, stride, W, GATHERS)
        mixed = is_mixed(place, left, W)
        slopes = (tl.zeros([BT, D], dtype=tl.float32),) * W
        pending = (tl.zeros([BT, D], dtype=tl.float32),) * (W - 1)
    steps = tl.minimum(left, TILES) + W - 1
    for lap in tl.range(0, steps, AHEAD, num_stages=5 if GATHERS else 3):
        for step in tl.static_range(AHEAD):
            at = first + lap + step
            inside = at < left
            taken = locate_rows(source, at, inside, GATHERS)
            found = load_rows(x, taken, inside, channel, stride).to(tl.float32)
            wanted = load_rows(dy, at, inside, channel, H * D).to(tl.float32)
            if W > 1:
                p, early = load_places(place, at, left, mixed, W)
                if early:
                    history = begun_history(history, tails, segment, at, p, inside, channel,
                                            H * D, W)  # fmt: skip
                    store_ended(dx, pending, place, at, p, first, channel, out_stride, W, TILES)
            back = silu_gradient(convolved(found, history, taps, W), wanted, UNIT, EPS)
            # What lies before the run and behind it is written by others.
            done = back
            own = (at - (W - 1) < left) & (lap + step >= W - 1) & (lap + step < TILES + W - 1)
            if W > 1:
                if KEEPS:
                    kept = inside & (p < W - 1) & (lap + step < TILES)
                    store_rows(dout, back, at, kept, channel, H * D)
                mine = tl.where(lap + step < TILES, back, 0.0)
                slopes = added_slopes(slopes, mine, found, history, W)
                added = added_pending(pending, back, taps, W)
                done, pending = added[W - 1], added[: W - 1]
                history = (found,) + history[: W - 2]
                own &= p >= W - 1
            store_rows(dx, done, at - (W - 1), own, channel, out_stride)
    if W > 1:
        for shift in tl.static_range(W):
            spot = (program * W + W - 1 - shift) * (H * D) + channel
            tl.store(dweight + spot, tl.sum(slopes[shift], axis=0))
