"""Stop sequences, found wherever tokens cut them.

Text that may be the beginning of a stop sequence is held back until more text decides it, so that
the client never sees a part of one.
"""

from collections.abc import Sequence


class Endings:
    """Looks for the first stop sequence in a text that comes in pieces."""

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = tuple(stop for stop in stops if stop)
        self._held = ""
        self.found = False
        """Whether a stop sequence came; what follows it is dropped."""

    def feed(self, text: str) -> str:
        """Return what of the text so far can be shown."""
        if self.found:
            return ""
        text = self._held + text
        places = [at for at in map(text.find, self._stops) if at >= 0]
        if places:
            self.found = True
            self._held = ""
            return text[: min(places)]
        kept = max((_overlap(text, stop) for stop in self._stops), default=0)
        self._held = text[len(text) - kept :]
        return text[: len(text) - kept]

    def flush(self) -> str:
        """Return what was held back, since the text ends here."""
        held, self._held = self._held, ""
        return held


def _overlap(text: str, stop: str) -> int:
    """Return how many characters at the end of the text a stop sequence could begin with."""
    longest = min(len(text), len(stop) - 1)
    return next((n for n in range(longest, 0, -1) if text.endswith(stop[:n])), 0)
