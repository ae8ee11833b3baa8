"""Case folding that remembers where each folded character came from."""

from array import array
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Caseless:
    """A case-folded text; ``origins`` is there only if folding made it longer (ß becomes ss)."""

    text: str
    origins: "array[int] | None" = None

    def span(self, start: int, end: int) -> tuple[int, int]:
        """Return the span of the original that the folded span came from, whole characters."""
        if self.origins is None:
            return start, end
        return self.origins[start], self.origins[end - 1] + 1


def caseless(text: str) -> Caseless:
    """Return the text case-folded, with the way back.

    A character folds to at least one, whatever its neighbours, so that equal lengths mean that
    every character kept its place.
    """
    folded = text.casefold()
    if len(folded) == len(text):
        return Caseless(text=folded)
    origins = (at for at, character in enumerate(text) for _ in character.casefold())
    return Caseless(text=folded, origins=array("Q", origins))
