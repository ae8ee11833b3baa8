"""Work on the context that the user asks for: cut, hide, bring back, pin, show more.

The long messages come first; then one or two wishes, each met by calls and a short report that
holds what the receipts say.
"""

import random
from collections.abc import Callable, Sequence

from sculptor.mom.recipes.corpus.moves import Steps, search
from sculptor.mom.recipes.corpus.prose import essay
from sculptor.mom.recipes.corpus.scene import Call, Move, Scene, Script, Turn, Wire, say, user
from sculptor.mom.recipes.corpus.words import pair_of_words, place

_LEAST_CHARS = 2_600
"""Shorter messages are not cut without markers."""

_NO_TOOLS = "I have no tool for that here."


def draw(rng: random.Random, *, chars: int) -> Scene:
    """Draw a scene with texts of about ``chars`` characters in all."""
    count = rng.randint(1, 3)
    size = max(_LEAST_CHARS, chars // count)
    texts = ["\n\n".join(essay(rng, chars=size)) for _ in range(count)]
    fact, subject = _fact(rng)
    texts[-1] += f"\n\n{fact}"
    said: list[Wire] = []
    for text in texts:
        said += [user(text), {"role": "assistant", "content": "Read."}]
    wish = rng.choice(_WISHES)
    text, script = wish(rng, subject, fact)
    turns = [Turn(said=(*said, user(text)), direct=say(_NO_TOOLS), tools=script)]
    if wish is not _more and rng.random() < 0.5:
        again, undoing = _bring_back(rng)
        turns.append(Turn(said=(user(again),), direct=say(_NO_TOOLS), tools=undoing))
    return Scene(family="requests", turns=tuple(turns))


def _fact(rng: random.Random) -> tuple[str, str]:
    subject = place(rng)
    return f"The lantern of {subject} is lit by {pair_of_words(rng)} alone.", subject


def _hide(rng: random.Random, subject: str, fact: str) -> tuple[str, Script]:
    pieces, kept = rng.randint(2, 8), rng.randint(1, 2)
    texts = (
        f"Cut the long texts into {pieces} pieces each and hide all but the last {kept}.",
        f"Put the old texts away, {pieces} pieces a text, and leave the last {kept} in view.",
        f"Make {pieces} fragments of each text; fold them, keep {kept} at the end.",
    )

    def script() -> Steps:
        """Cut, fold, and tell how many of the pieces are hidden."""
        cut = yield Move(
            calls=(Call(name="fragment_context", arguments={"num_fragments": pieces}),)
        )
        fold = yield Move(calls=(Call(name="fold_fragment", arguments={"keep_last": kept}),))
        hidden, made = len(fold[0]["folded"]), len(cut[0]["fragments"])
        yield Move(text=f"{hidden} of {made} pieces are hidden.")

    return rng.choice(texts), script


def _hide_at_once(rng: random.Random, subject: str, fact: str) -> tuple[str, Script]:
    texts = (
        "Hide everything above, in one go.",
        "Clear the view: fold all the long texts.",
        "None of that is needed any more. Put it away.",
    )

    def script() -> Steps:
        """Hide at once and tell the view's tokens."""
        arguments = {"num_fragments": 1, "fold_except": list[int]()}
        done = yield Move(calls=(Call(name="fragment_context", arguments=arguments),))
        tokens = done[0]["view_tokens"]
        if isinstance(tokens, int):
            yield Move(text=f"All of it is hidden already. The view has {tokens} tokens.")
            return
        yield Move(text=f"Done. The view went from {tokens['before']} to {tokens['after']} tokens.")

    return rng.choice(texts), script


def _pin(rng: random.Random, subject: str, fact: str) -> tuple[str, Script]:
    pieces = rng.randint(2, 5)
    first = rng.random() < 0.5
    which = "first" if first else "last"
    texts = (
        f"Cut each text into {pieces} and make sure the {which} piece stays in view.",
        f"In {pieces} pieces a text, please; pin the {which} one.",
    )

    def script() -> Steps:
        """Cut, pin, and tell the piece."""
        cut = yield Move(
            calls=(Call(name="fragment_context", arguments={"num_fragments": pieces}),)
        )
        name = cut[0]["fragments"][0 if first else -1]["id"]
        yield Move(calls=(Call(name="pin_fragment", arguments={"fragment_ids": [name]}),))
        yield Move(text=f"{name} is pinned.")

    return rng.choice(texts), script


def _more(rng: random.Random, subject: str, fact: str) -> tuple[str, Script]:
    texts = (
        f"Where is {subject} spoken of? Show me more of that place.",
        f"Find {subject} and give me the sentence, with what is around it at hand.",
    )

    def script() -> Steps:
        """Search, open the place, and tell the fact."""
        found = yield Move(calls=(search([subject], max_results=1, context_size=50),))
        name = found[0]["results"][0]["hits"][0]["id"]
        yield Move(calls=(Call(name="get_search_detail", arguments={"search_id": name}),))
        yield Move(text=fact)

    return rng.choice(texts), script


def _bring_back(rng: random.Random) -> tuple[str, Script]:
    texts = (
        "Bring everything back.",
        "I want to see all of it again.",
        "Restore what is hidden.",
    )

    def script() -> Steps:
        """Restore everything."""
        yield Move(calls=(Call(name="restore_fragment", arguments={"fragment_ids": ["all"]}),))
        yield Move(text="Everything is in view again.")

    return rng.choice(texts), script


_Wish = Callable[[random.Random, str, str], tuple[str, Script]]
_WISHES: Sequence[_Wish] = (_hide, _hide, _hide_at_once, _pin, _more)
