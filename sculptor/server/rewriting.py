"""Lists whose client removed or rewrote what came before."""

from collections import Counter
from collections.abc import Sequence

from sculptor.messages import MessageKey


def dropped_before(
    old: Sequence[MessageKey], new: Sequence[MessageKey]
) -> dict[MessageKey, int] | None:
    """Return how many of each message a client removed from before what it kept.

    The kept stretch is the longest run of the new list that stands in the old one; None where
    fewer than two messages are shared, for one may be chance.
    """
    positions: dict[MessageKey, list[int]] = {}
    for index, key in enumerate(old):
        positions.setdefault(key, []).append(index)
    best, runs = (0, 0, 0), dict[int, int]()
    for index, key in enumerate(new):
        runs = {at: runs.get(at - 1, 0) + 1 for at in positions.get(key, ())}
        for at, length in runs.items():
            best = max(best, (length, at - length + 1, index - length + 1))
    length, old_start, new_start = best
    if length < min(2, len(old)):
        return None
    removed = Counter(old[:old_start])
    removed.subtract(Counter(new[:new_start]))
    return {key: count for key, count in removed.items() if count > 0}
