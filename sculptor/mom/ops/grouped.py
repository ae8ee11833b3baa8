"""One linear map per memory, applied to the rows that went there.

`grouped_linear` takes the tokens once and gathers by row index. On the host the groups are cut
where they lie; on a device, where cutting would mean waiting for the router, every map is applied
to every token and the rows are picked afterwards. Both are the same function.
"""

import torch
from torch import Tensor

from sculptor.mom.ops.routing import RowPlan


def grouped_linear(x: Tensor, *, weight: Tensor, plan: RowPlan) -> Tensor:
    """Return ``[R, C]``: row ``r`` is ``x[token[r]] @ weight[memory[r]]``; ``weight [G, d, C]``."""
    weight = weight.to(x.dtype)
    if x.device.type == "cpu":
        return _by_group(x, weight, plan)
    return _by_choice(x, weight, plan)


def _by_group(x: Tensor, weight: Tensor, plan: RowPlan) -> Tensor:
    sizes = plan.offsets.diff().tolist()
    groups = zip(torch.split(plan.token, sizes), weight.unbind(), strict=True)
    return torch.cat([x[tokens] @ matrix for tokens, matrix in groups])


def _by_choice(x: Tensor, weight: Tensor, plan: RowPlan) -> Tensor:
    everything = torch.einsum("nd,gdc->ngc", x, weight)
    return everything[plan.token, plan.memory]
