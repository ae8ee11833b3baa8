"""``search_context`` and ``get_search_detail``: find text in originals, hidden text included.

Search never changes the view. It looks at the client's present messages as they came, never at what
the client removed nor at the tools' own earlier answers; hits are addresses in originals, so they
stay valid whatever is folded later.
"""

import hashlib
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sculptor.context import Context, Hit
from sculptor.errors import ToolError
from sculptor.messages import INSTRUCTION_ROLES
from sculptor.search import count, excerpt, find, nearest
from sculptor.state import HIDDEN, Place
from sculptor.store.protocol import RankedHit
from sculptor.terms import cosine_ranking, reciprocal_rank_fusion
from sculptor.tools.arguments import FullDetail, FullSearch, PaperDetail, PaperSearch
from sculptor.tools.needs import Need, NeedEmbeddings, NeedRanked, Work
from sculptor.tools.ranges import plays

ANSWER_CHARS = 16_000
"""All excerpts of one answer together; past it hits are listed without text."""

_PASSAGE_CHARS = 1_000
_RANKED_DEPTH = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Text:
    """One searchable part of the present list."""

    message: int
    part: int
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Spot:
    """A stretch of one searchable text."""

    source: int
    start: int
    end: int


def paper_search(context: Context, arguments: PaperSearch) -> Work:
    """Find exact text, hits in document order."""
    full = FullSearch(
        queries=[arguments.query] if arguments.query else [" "],
        role=arguments.role,
        max_results=arguments.max_results,
        context_size=arguments.context_size,
        latest_per_query=False,
        order="first",
    )
    if not arguments.query:
        yield from ()
        return {"total": 0, "hits": [], "hint": "The query is empty; quote some text to find."}
    answer = yield from full_search(context, full)
    return {**answer["results"][0], "searched": answer["searched"]}


def full_search(context: Context, arguments: FullSearch) -> Work:
    """Find several queries at once, each with its own hits."""
    texts = list(_texts(context, arguments.role))
    room = ANSWER_CHARS
    results: list[dict[str, Any]] = []
    for query in arguments.queries:
        spots, total = yield from _spots(context, texts, query, arguments)
        hits = list(_hits(context, texts, query, spots, arguments.context_size, room))
        room -= sum(len(hit.get("text", "")) for hit in hits)
        row: dict[str, Any] = {"query": query, "total": total, "hits": hits}
        results.append(row if hits else row | _near(texts, query))
    return {"results": results, "searched": "originals, hidden text included"}


def detail(context: Context, arguments: PaperDetail | FullDetail) -> Work:
    """Widen one hit."""
    yield from ()
    hit = context.hits.get(arguments.search_id)
    index = None if hit is None else context.index_of(hit.place)
    if hit is None or index is None:
        known = list(context.hits)[-10:]
        hint = "IDs come from search_context." if not known else "Use one of valid_ids."
        raise ToolError(
            "UNKNOWN_SEARCH_ID",
            f"No search hit has the ID {arguments.search_id!r} in the present messages. {hint}",
            {"valid_ids": known},
        )
    text = context.messages[index].parts[hit.part].text
    size = arguments.extended_context
    start, end = excerpt(text, hit.start, hit.end, context_size=size)
    row = _place(context, hit.place, index, hit.part, hit.start)
    return {"id": hit.id, **row, "chars": [start, end], "text": text[start:end]}


def _spots(
    context: Context, texts: Sequence[Text], query: str, arguments: FullSearch
) -> Generator[Need, Any, tuple[list[Spot], int]]:
    """Return the spots to show, in the order asked for, and how many there are in all."""
    limit = 1 if arguments.latest_per_query else arguments.max_results
    loose = arguments.mode in ("fuzzy", "ranked", "semantic")
    order = arguments.order or ("relevance" if loose else "first")
    order = "last" if arguments.latest_per_query else order
    if arguments.mode == "ranked" or arguments.mode == "semantic":
        best = yield from _ranked(context, texts, query)
        if arguments.mode == "semantic":
            near = yield from _semantic(texts, query)
            best = [spot for spot, _ in reciprocal_rank_fusion([best, near])]
        chosen = best[:limit]
        if order != "relevance":
            chosen.sort(key=lambda spot: (spot.source, spot.start), reverse=order == "last")
        return chosen, len(best)
    plain = [text.text for text in texts]
    found = find(
        plain,
        query,
        mode=arguments.mode,
        order="last" if order == "last" else "first",
        limit=max(limit, _RANKED_DEPTH) if order == "relevance" else limit,
    )
    if order == "relevance":
        found = sorted(found, key=lambda match: -match.score)[:limit]
    spots = [Spot(source=match.index, start=match.start, end=match.end) for match in found]
    return spots, max(count(plain, query, mode=arguments.mode), len(spots))


def _ranked(
    context: Context, texts: Sequence[Text], query: str
) -> Generator[Need, Any, list[Spot]]:
    sources = {(text.message, text.part): number for number, text in enumerate(texts)}
    by_hash = {context.messages[text.message].hash: text.message for text in texts}
    found: Sequence[RankedHit] = yield NeedRanked(tuple(by_hash), query, _RANKED_DEPTH)
    spots: list[Spot] = []
    for hit in found:
        source = sources.get((by_hash[hit.hash], hit.part))
        if source is not None:
            spots.append(Spot(source=source, start=hit.start, end=hit.end))
    return spots


def _semantic(texts: Sequence[Text], query: str) -> Generator[Need, Any, list[Spot]]:
    passages = [
        Spot(source=number, start=at, end=min(at + _PASSAGE_CHARS, len(text.text)))
        for number, text in enumerate(texts)
        for at in range(0, len(text.text), _PASSAGE_CHARS)
    ]
    pieces = [texts[spot.source].text[spot.start : spot.end] for spot in passages]
    vectors: Sequence[Sequence[float]] | None = yield NeedEmbeddings((query, *pieces))
    if vectors is None:
        raise ToolError(
            "NO_EMBEDDER", "No embedder can be reached; use mode ranked, exact or fuzzy instead."
        )
    order = cosine_ranking(vectors[0], vectors[1:], limit=_RANKED_DEPTH)
    return [passages[number] for number, _ in order]


def _near(texts: Sequence[Text], query: str) -> dict[str, Any]:
    plain = [text.text for text in texts]
    near = [plain[match.index][match.start : match.end] for match in nearest(plain, query)]
    return {"nearest": near} if near else {"hint": "Nothing like it; try fewer or other words."}


def _hits(
    context: Context,
    texts: Sequence[Text],
    query: str,
    spots: Sequence[Spot],
    size: int,
    room: int,
) -> Iterator[dict[str, Any]]:
    """Yield one row a spot; a spot inside an earlier row's excerpt is shown without its own."""
    shown: list[tuple[int, int, int]] = []
    for spot in spots:
        source = texts[spot.source]
        place = context.places[source.message]
        hit = _hit(context, place, source.part, spot, query)
        row = {"id": hit.id, **_place(context, place, source.message, source.part, spot.start)}
        start, end = excerpt(source.text, spot.start, spot.end, context_size=size)
        covered = any(s == spot.source and a <= spot.start and spot.end <= b for s, a, b in shown)
        if covered:
            row["text"] = source.text[spot.start : spot.end]
        elif room > 0:
            row["text"] = source.text[start:end]
            shown.append((spot.source, start, end))
        room -= len(row.get("text", ""))
        yield row


def _hit(context: Context, place: Place, part: int, spot: Spot, query: str) -> Hit:
    address = b"%b%b|%d|%d|%d|%d" % (
        context.seed,
        place.key,
        place.occurrence,
        part,
        spot.start,
        spot.end,
    )
    draw = 0
    while True:
        digits = hashlib.blake2b(address + b"|%d" % draw, digest_size=3, person=b"hit")
        name = "s" + digits.hexdigest()[:5]
        hit = Hit(name, place, part, spot.start, spot.end, query)
        known = context.hits.get(name)
        if known is None:
            context.add_hit(hit)
        if known is None or known[1:5] == hit[1:5]:
            return hit
        draw += 1


def _place(context: Context, place: Place, index: int, part: int, start: int) -> dict[str, Any]:
    row: dict[str, Any] = {"message": index, "role": context.messages[index].role, "char": start}
    for leaf in context.state.leaves_of(place):
        if leaf.part == part and leaf.start <= start < leaf.end:
            row["fragment"] = leaf.id
            if leaf.status in HIDDEN:
                row["hidden"] = leaf.status
    return row


def _texts(context: Context, role: str) -> Iterator[Text]:
    for index, message in enumerate(context.messages):
        if message.role in INSTRUCTION_ROLES or not plays(message, role):
            continue
        for number, part in enumerate(message.parts):
            if part.text_path is not None and part.text:
                yield Text(message=index, part=number, text=part.text)
