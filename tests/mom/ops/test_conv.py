import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sculptor.mom.ops.conv import short_conv
from tests.mom.helpers import offsets


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 7), min_size=1, max_size=4), st.integers(2, 5))
def test_conv_equals_a_plain_convolution_of_each_segment(lengths, width) -> None:
    channels = 3
    x, weight = torch.randn(sum(lengths), channels), torch.randn(channels, width)
    tails, cu = torch.randn(len(lengths), width - 1, channels), offsets(lengths)
    y, after = short_conv(x, weight=weight, tails=tails, cu_seqlens=cu)
    for i in range(len(lengths)):
        whole = torch.cat([tails[i], x[cu[i] : cu[i + 1]]])
        assert torch.equal(after[i], whole[len(whole) - width + 1 :])
        if lengths[i]:
            want = torch.nn.functional.conv1d(whole.t()[None], weight[:, None], groups=channels)
            torch.testing.assert_close(y[cu[i] : cu[i + 1]], want[0].t())
