"""Chains of relations told in any order among filler: follow them to their end, link by link.

Kin in many wordings, and other relations that run one way: who reports to whom, what lies in what,
which name stands for which. Each link is found by a search for the name reached so far.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

from sculptor.mom.recipes.corpus.instructions import notes, numbered_examples, roles
from sculptor.mom.recipes.corpus.moves import Steps, needs_tools, put_away, search
from sculptor.mom.recipes.corpus.prose import essay
from sculptor.mom.recipes.corpus.scene import Move, Scene, Script, one_answer, user
from sculptor.mom.recipes.corpus.wording import composed_demand
from sculptor.mom.recipes.corpus.words import code, distinct, kind, made_up, name, place

CONTEXT_CHARS = 80
MAX_HITS = 6

_QUESTION_CHARS = 1_900
"""Longer questions, examples and all, would not stay in view whole."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Relation:
    """A relation by how its links are told (``{u}`` the upper end, ``{l}`` the lower) and asked."""

    links: tuple[str, ...]
    up: tuple[str, ...]
    down: tuple[str, ...] = ()
    naming: str = "name"


_TERMS = (
    "father",
    "mother",
    "dad",
    "mom",
    "grandfather",
    "grandmother",
    "maternal grandmother",
    "paternal grandfather",
    "parent",
    "great-grandmother",
)
_KIN = _Relation(
    links=(
        "{l} was brought up by {u}, the {r} of {l}.",
        "{u} signs letters to {l} as a proud {r}.",
        "In the register {u} is down as the {r} of {l}.",
        "{l} calls {u} {r} and nobody wonders.",
        "It was {u}, {l}'s {r}, who built the shed.",
        "{l} learned to swim from {u}, who is the {r} of {l}.",
        "{u} is known in town for being {l}'s {r}.",
        "Every summer {l} visits {u}, a {r} with a large garden.",
        "{u}, who happens to be {l}'s {r}, sings in the choir.",
        "As {l}'s {r}, {u} paid for the school books.",
        "The {r} whom {l} takes after is {u}.",
        "{l} has a {r} by the name of {u}.",
        "{u} raised {l} as a {r} should.",
        "{l}, of whom {u} is the {r}, keeps bees.",
        "Nobody but {u} could be {l}'s {r}.",
        "Among the guests was {l}'s {r} {u}.",
        "{l}'s {r} goes by the name {u}.",
        "{l}'s {r}, {u}, never left the valley.",
        "{u} became {l}'s {r} in a dry year.",
        "{u} has always been {l}'s {r}.",
        "Being {l}'s {r}, {u} keeps a spare key, and {l} knows where.",
        "{u} is called {r} by {l} and by no one else.",
        "To {l}, {u} was a {r} and a teacher at once.",
        "With {l}, {u} went fishing as any {r} would; {l} liked to row.",
        "No one cared for {l} like {u}, {l}'s {r}.",
        "{u} taught {l} to read, as {l}'s {r}; {u} still writes to {l}.",
        "The house of {u} will go to {l}, for {u} is the {r} of {l}.",
        "{u}, {r} of {l}, signed for the parcel.",
        "{l} looks up to {u}, the {r}, in all things.",
        "When {l} was ill, {u} came, a good {r} and a better cook; {l} got well.",
        "{l}, a child of {u}, was born in autumn.",
        "Of all the children of {u}, {l} was the loudest.",
        "{u} gave birth to {l} or took {l} in; papers are lost, but {l} is the child.",
        "There is no doubt that {u} is {r} to {l}.",
        "{u} and {l} look alike, as {r} and child do.",
        "The {r} {l} speaks of is {u}.",
        "{u} stands in for nobody: {l} has {u} as {r}.",
        "{l} inherits from {u}, the {r}, a boat.",
        "As a {r}, {u} was strict with {l}.",
        "{u}: {r} of {l}, owner of two goats.",
    ),
    up=(
        "Going back from {p} through parents and grandparents, who comes first of all?",
        "Who is the earliest forebear of {p} that the text lets one find?",
        "Trace the family of {p} upwards as far as it goes. Whom do you reach?",
        "How far back can one follow {p}'s family, and who stands at the beginning?",
        "Whom does one reach in going from {p} to ever older kin?",
        "Of {p}'s forebears, which is the oldest that can be found?",
        "From {p}, go up one generation after another; who is on top?",
        "Name the first of the family from which {p} comes.",
        "Which forebear of {p} lies furthest back?",
        "{p} has parents, they have parents; who is the last that is named?",
        "Going by what is told, who began the family of {p}?",
        "Find the oldest of those from whom {p} descends.",
    ),
    down=("Follow the children and grandchildren of {p} down. Who is the youngest one named?",),
)
_OTHERS = (
    _Relation(
        links=(
            "{l} reports to {u}.",
            "{u} signs off the work of {l}.",
            "The superior of {l} is {u}.",
            "Orders for {l} come from {u}.",
            "{u} hired {l} and has led {l} since.",
        ),
        up=("Starting at {p}, whose word is the last up the line?",),
        down=("Starting at {p}, who is at the very bottom of the line?",),
    ),
    _Relation(
        links=(
            "{l} stands inside {u}.",
            "{u} encloses {l}.",
            "One gets to {l} through {u}.",
            "Within {u} lies {l}.",
        ),
        up=("What encloses {p} at the outermost?", "Going outwards from {p}, what comes last?"),
        down=("Going inwards from {p}, what comes last?",),
        naming="place",
    ),
    _Relation(
        links=(
            "{l} takes its value from {u}.",
            "{u} is copied into {l}.",
            "let {l} be {u}.",
            "Whatever {u} holds, {l} holds too.",
        ),
        up=("From where does {p} take its value in the end?",),
        down=("Which is the last to get the value of {p}?",),
        naming="code",
    ),
    _Relation(
        links=(
            "{l} was taught by {u}.",
            "{u} took {l} on as a pupil.",
            "{l} learned the trade from {u}.",
            "The teacher of {l} was {u}.",
        ),
        up=("Go from {p} to the teacher, the teacher's teacher and so on. Who began it?",),
        down=("Go from {p} to the pupil, the pupil's pupil and so on. Who is the latest?",),
    ),
)
_NAMING = {"name": name, "place": place, "code": code}
_SHAPES = (
    ("\\result{", "}"),
    ("\\fbox{", "}"),
    ("[[", "]]"),
    ("<<", ">>"),
    ("**", "**"),
    ("<end>", "</end>"),
    ("\\ans{", "}"),
    ("{", "}"),
    ("(", ")"),
    ("==", "=="),
)
_GAPS = (
    *("(put the name here)", "(your answer)", "name", "who", "the name", "your answer"),
    *("answer here", "...", "(answer)", "whom you found"),
)
_FARTHEST = ("earliest", "first", "farthest", "remotest", "topmost", "uppermost", "last", "eldest")
_PEOPLE = ("forebear", "ancestor", "kinsman", "elder", "person", "soul", "one", "name", "of all")
_WAYS = (
    "{p} goes back to",
    "{p} comes from",
    "{p} can be followed to",
    "{p} leads up to",
    "one reaches from {p}",
    "can be found for {p}",
    "stands above {p}",
    "belongs to {p}",
    "{p} has",
    "{p} can be led back to",
    "there is for {p}",
)
_WHERE = ("", "", " here", " above", " in these pages", " by what is told", " as far as one reads")
_WHO = ("Who is", "What is", "Who was", "Which is", "And who is", "Who would be", "Which one is")
_TELL = ("Find", "Name", "Tell me", "Work out", "Give me", "Determine", "State", "I look for")
_LEAD = (
    "The line of {p} ends with",
    "Starting from {p}, one comes to",
    "So for {p} it is",
    "What {p} leads to is",
    "In the end, {p} goes back to",
    "As far as {p} goes, it ends at",
    "Asked about {p}, I say",
    "The last one to be reached from {p} is",
    "Before all others that {p} has here stands",
    "By all that is written, {p} comes from",
    "Followed to its end, {p} gives",
    "Thus the farthest that {p} can be followed is",
    "Nothing goes further from {p} than",
    "{p} ends in",
)
_DEMANDS = (
    'Finish your reply like this: "{}"',
    "Keep to this form: {}",
    "The last thing you write is '{}'",
    "Put what you find in such a sentence: '{}'",
    'Your reply has to close with it. Say: "{}"',
    "Write it so: {}",
)
_BEFORE_QUESTION = (
    *("My question: ", "", "Now tell me. ", "With that read: ", "By these words, ", "Question:\n"),
    *("Having read it, answer this: ", "From this and nothing else: ", "Now for what I ask. "),
)
_QUOTES = ("{}", "{}", "{}", "'{}'", '"{}"', "*{}*")


def draw(rng: random.Random, *, chars: int) -> Scene:
    """Draw a scene with a text of about ``chars`` characters."""
    relation = _KIN if rng.random() < 0.6 else rng.choice(_OTHERS)
    links = rng.choices((1, 2, 3, 4, 5), (10, 28, 28, 20, 14))[0]
    naming = _NAMING[relation.naming]
    count = links + 1
    names = distinct(rng, naming, count + rng.choice((0, 2, 3)))
    chain, other = names[:count], names[count:]
    sentences = [_link(rng, relation, *ends) for ends in (*pairwise(chain), *pairwise(other))]
    text = _scatter(rng, essay(rng, chars=max(1, chars)), sentences)
    upward = not relation.down or rng.random() < 0.85
    path = chain[::-1] if upward else chain
    question, answer = _question(rng, relation, path, upward=upward)
    said = [user(_frame(rng, text, question))]
    if not needs_tools(len(text)):
        return one_answer("chains", said, direct=answer)
    return one_answer("chains", said, direct=answer, tools=_climb(path, answer))


def _link(rng: random.Random, relation: _Relation, upper: str, lower: str) -> str:
    links = (_kinship(rng),) if relation is _KIN and rng.random() < 0.5 else relation.links
    text = rng.choice(links).format(u=upper, l=lower, r=rng.choice(_TERMS))
    return text[:1].upper() + text[1:]


def _kinship(rng: random.Random) -> str:
    """Put a sentence of kinship together; either may be named again in the rest of it."""
    how = rng.choice(
        ("plainly", "by all papers", "as told", made_up(rng), "no less than", "surely")
    )
    rest = rng.choice(
        (
            f" and {{l}}'s {made_up(rng)} as well",
            f", besides being {{l}}'s {made_up(rng)}",
            f"; {{l}} {made_up(rng)} the {kind(rng, 'things')}",
            f", and {{u}} {made_up(rng)} for {{l}}",
            f" more than {{l}}'s {kind(rng, 'people')}",
            f", so {{l}} keeps the {kind(rng, 'things')} of {{u}}",
            f", the {kind(rng, 'things')} of {{l}} says",
        )
    )
    base = rng.choice(
        (
            "{u} is {how} {l}'s {r}{rest}.",
            "{l}'s {r} is {how} {u}{rest}.",
            "{u}, {how} {l}'s {r}, {verb} the {noun}{rest}.",
            "As for {l}, {u} is {how} the {r}{rest}.",
            "While {l} {verb}, {u} was {how} {l}'s {r}{rest}.",
            "To {l}, {u} is {how} a {r}{rest}.",
            "In {l}'s {noun}, {u} was {how} {l}'s {r}{rest}.",
            "{l} is {how} a child of {u}{rest}.",
            "{Cap} {l}'s {noun}, {u} {verb} {how} {l}'s {r}{rest}.",
            "{Cap} {l}, {u} {verb} not {how} a {r}{rest}.",
            "{u} is {how} {few} {l}'s {r} {two} {l}'s {noun}{rest}.",
            "{Cap} {u}, {l}'s {r} and {l}'s {noun}{rest}, {verb} the {few} of {l}.",
            "{Cap} {how} {l}'s {r}: {u}{rest}.",
        )
    )
    words = {
        "how": how,
        "rest": rest if rng.random() < 0.7 else "",
        "verb": made_up(rng),
        "noun": kind(rng, "things"),
        "few": rng.choice(("not alone", "both", "rather", made_up(rng))),
        "two": rng.choice(("and besides", "and even", "as much as", made_up(rng))),
        "Cap": rng.choice(("In", "At", "Through", "After", "With", made_up(rng).capitalize())),
    }
    for name_, word in words.items():
        base = base.replace(f"{{{name_}}}", word)
    return base


def _scatter(rng: random.Random, paragraphs: list[str], sentences: Sequence[str]) -> str:
    order = rng.sample(sentences, len(sentences))
    for sentence in order:
        at, way = rng.randrange(len(paragraphs) + 1), rng.random()
        if at < len(paragraphs) and way < 0.3:
            words = paragraphs[at].split(" ")
            cut = rng.randrange(len(words) + 1)
            parts = (" ".join(words[:cut]), sentence, " ".join(words[cut:]))
            paragraphs[at] = "\n".join(filter(None, parts))
        elif at < len(paragraphs) and way < 0.6:
            paragraphs[at] = f"{sentence} {paragraphs[at]}"
        else:
            paragraphs.insert(at, sentence)
    return "\n\n".join(paragraphs)


def _question(
    rng: random.Random, relation: _Relation, path: Sequence[str], *, upward: bool
) -> tuple[str, str]:
    """Return the question and its answer, in a form that the question shows or in short."""
    quote = rng.choice(_QUOTES)
    end = _End.draw(rng) if upward and rng.random() < 0.6 else None
    asked = end.ask(rng) if end else rng.choice(relation.up if upward else relation.down)
    asked = asked.format(p=quote.format(path[0]))
    if rng.random() < 0.1:
        return " ".join(filter(None, (asked, notes(rng)))), path[-1]
    lead = end.lead(rng) if end and rng.random() < 0.7 else _lead(rng)
    opening, closing = _shape(rng)

    def told(first: str, last: str) -> str:
        return f"{lead.format(p=quote.format(first))} {opening}{last}{closing}."

    form = told(path[0], rng.choice(_GAPS))
    rule = rng.choice(_DEMANDS).format(form)
    if rng.random() < 0.6:
        rule = composed_demand(rng, form, within=f"{opening}{closing}")
    while True:
        examples = [
            _example(rng, relation, upward, told) for _ in range(rng.choice((0, 0, 1, 2, 3)))
        ]
        parts = (asked, numbered_examples(rng, examples), notes(rng, [rule]))
        text = rng.choice(("\n\n", "\n", " ")).join(filter(None, parts))
        if len(text) <= _QUESTION_CHARS:
            return text, told(path[0], path[-1])


class _End(NamedTuple):
    """The upper end of a chain in words put together, some that mean nothing among them."""

    which: str
    way: str
    where: str

    @classmethod
    def draw(cls, rng: random.Random) -> "_End":
        """Draw how the end is called, how a chain leads there, and where that is told."""
        which = f"{rng.choice(_FARTHEST)} {rng.choice(_PEOPLE)}"
        if rng.random() < 0.4:
            which = f"{rng.choice((*_FARTHEST, made_up(rng)))} {kind(rng, 'people', 'things')}"
        way = rng.choice(_WAYS)
        if rng.random() < 0.3:
            way = f"{{p}} {rng.choice(('can', 'may', 'is to', 'would'))} {made_up(rng)} {_to(rng)}"
        where = rng.choice(_WHERE)
        if rng.random() < 0.2:
            where = f" in the {made_up(rng)} {kind(rng, 'things')}"
        return cls(which, rng.choice(("", "that ", "whom ")) + way, where)

    def ask(self, rng: random.Random) -> str:
        """Return a question with a place for the name it starts from."""
        told = f"the {self.which} {self.way}{self.where}"
        before = _preface(rng) if rng.random() < 0.4 else ""
        asked = f"{rng.choice(_WHO)} {told}?"
        if rng.random() < 0.35:
            asked = f"{rng.choice(_TELL)} {told}."
        return before + (asked[:1].lower() + asked[1:] if before else asked)

    def lead(self, rng: random.Random) -> str:
        """Return the beginning of a sentence that ends with the answer."""
        opening = rng.choice(
            ("So the", "The", "Thus the", "Hence the", "Therefore the", "Then the")
        )
        return f"{opening} {self.which} {self.way}{self.where} is"


def _preface(rng: random.Random) -> str:
    """Return words before a question that name nobody."""
    noun = kind(rng, "things", "people")
    return rng.choice(
        (
            f"Going by the {noun} above, ",
            "With all that in mind, ",
            f"Taking every {noun} as told, ",
            f"By what the {noun} says here, ",
            f"{made_up(rng).capitalize()} {made_up(rng)} above, ",
            "As far as these lines tell, ",
            f"Now that you know the {noun}, ",
        )
    )


def _to(rng: random.Random) -> str:
    return rng.choice(("to", "back to", "up to", "from", "away to", "out to"))


def _example(
    rng: random.Random, relation: _Relation, upward: bool, told: Callable[[str, str], str]
) -> str:
    """Return a short chain of names that occur nowhere else, worked to its end."""
    names = distinct(rng, _NAMING[relation.naming], rng.randint(2, 4))
    links = [_link(rng, relation, *ends).removesuffix(".") for ends in pairwise(names)]
    given = rng.choice((" and ", ", ", "; ")).join(rng.sample(links, len(links)))
    before, then = rng.choice(
        (("Let it say: ", ". Then: "), ("Where ", ", the reply is: "), ("", " => "))
    )
    path = names[::-1] if upward else names
    return f"{before}{given}{then}{told(path[0], path[-1])}"


def _lead(rng: random.Random) -> str:
    lead = rng.choice(_LEAD)
    return f"{made_up(rng).capitalize()}: {lead}" if rng.random() < 0.2 else lead


def _shape(rng: random.Random) -> tuple[str, str]:
    if rng.random() < 0.5:
        return rng.choice(_SHAPES)
    word = made_up(rng)
    return rng.choice(((f"\\{word}{{", "}"), (f"<{word}>", f"</{word}>"), (f"[{word}: ", "]")))


def _frame(rng: random.Random, text: str, question: str) -> str:
    opening = rng.choice(
        ("Some papers I found:", "Read all of this.", f"From the files of {made_up(rng)}:", "Text:")
    )
    opening = " ".join(filter(None, (roles(rng), opening)))
    ending = rng.choice(_BEFORE_QUESTION)
    tag = rng.choice(("text", "papers", made_up(rng), made_up(rng).capitalize()))
    if rng.random() < 0.4:
        text = f"<{tag}>\n{text}\n</{tag}>"
    return f"{opening}\n\n{text}\n\n{ending}{question}"


def _climb(path: Sequence[str], answer: str) -> Script:
    """Search each name on the path, the last one too: nothing leads on from it.

    The name asked about is searched along, so that what is asked and how it is to be answered stand
    close by, however many steps the chain has.
    """

    def script() -> Steps:
        yield put_away()
        for reached in path:
            queries = [reached] if reached == path[0] else [reached, path[0]]
            call = search(queries, max_results=MAX_HITS, context_size=CONTEXT_CHARS)
            yield Move(calls=(call,))
        yield Move(text=answer)

    return script
