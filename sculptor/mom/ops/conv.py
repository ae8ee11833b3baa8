"""The short causal convolution over packed rows, with a tail carried from call to call.

Depthwise, no bias, no activation. A segment sees its own rows and its own tail and nothing else,
so packed documents, batch elements and memories never leak into one another.
"""

from torch import Tensor

from sculptor.mom.ops.segments import earlier_rows, last_rows, locate_rows, with_tails


def short_conv(
    x: Tensor, *, weight: Tensor, tails: Tensor, cu_seqlens: Tensor
) -> tuple[Tensor, Tensor]:
    """Convolve ``x [R, C]`` with ``weight [C, W]``: return the rows and the new tails.

    ``tails [S, W - 1, C]`` holds the raw rows before each segment, oldest first. The last tap
    of ``weight`` meets the row itself.
    """
    segments, width = tails.shape[0], tails.shape[1]
    at = locate_rows(cu_seqlens, rows=x.shape[0])
    history = with_tails(x, tails)
    taps = weight.to(x.dtype)
    out = x * taps[:, width]
    for shift in range(1, width + 1):
        index = earlier_rows(at, shift=shift, segments=segments, width=width)
        out = out + history[index] * taps[:, width - shift]
    last = history[last_rows(cu_seqlens, width=width)]
    return out, last.to(tails.dtype)
