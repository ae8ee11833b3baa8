"""Make the tokenizer of the language model: ``python -m sculptor.mom.recipes.tokenizer [OUT]``.

Merges are learned from given texts and from the strings that the product's own tools write; the
same texts give the same file. Fixed strings (keys of answers, parts of markers, the commonest words
of grammar with their spaces) are tokens of their own, and so is each word of the product's answers,
whatever the texts hold.
"""

import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from pydoc_data import topics

from tokenizers import AddedToken, Regex, decoders, models, pre_tokenizers, trainers
from tokenizers import Tokenizer as Bpe

from sculptor.mom.language.protocol import ARGUMENT_NAMES, TEXT_OFFSET, TOOL_NAMES
from sculptor.mom.language.tokenizer import PIECE_PATTERN, Tokenizer
from sculptor.mom.recipes.corpus.samples import iter_texts
from sculptor.tools.registry import toolset

VOCAB_SIZE = 4096

SHIPPED = Path(__file__).parent.parent / "language" / "tokenizer.json"

ANSWER_KEYS = (
    "after",
    "before",
    "changed",
    "char",
    "chars",
    "code",
    "cost_tokens",
    "ends",
    "error",
    "fragment",
    "fragments",
    "hidden",
    "hint",
    "hits",
    "id",
    "kept_original",
    "last_value_hidden_for",
    "last_value_hidden_keys",
    "message",
    "nearest",
    "new",
    "note",
    "now_hidden_only",
    "ok",
    "pinned_by",
    "prefix_kept_tokens",
    "query",
    "results",
    "role",
    "searched",
    "starts",
    "state",
    "summarized",
    "text",
    "tokens",
    "total",
    "undo",
    "undo_first",
    "valid_ids",
    "view_tokens",
)
"""Keys of the answers of the context tools."""

_FIRST_KEYS = ("after", "before", "error", "fragments", "hits", "id", "ok", "query", "results")
"""Those that may come first in their object; the others are tokens with the comma before them."""

PLAIN_WORDS = (
    *("and", "are", "as", "at", "by", "for", "from", "in", "is", "it", "of", "on", "that", "the"),
    *("to", "was", "were", "with"),
)
"""Words of grammar, one token with the two spaces around them: prose takes a quarter less."""

FIXED_STRINGS = (
    *(f" {word} " for word in PLAIN_WORDS),
    *(", ", "; ", ": ", ". ", " = ", '": ', '": "', '", "'),
    *(f'"{key}":' for key in _FIRST_KEYS),
    *(f',"{key}":' for key in ANSWER_KEYS),
    *('"}', '["', '"]', '":"', '":', '":[', '":{', "},{", r"\n", r"\"", "\\\\", r"\t"),
    "⟦",
    "⟧",
    " folded · ",
    " tokens⟧",
    " summary (focus: ",
    '{"ok":true,',
    '{"id":"',
    ',"hits":[{"id":"',
    ',"text":"',
    ',"role":"user"',
    ',"searched":"originals, hidden text included"',
    ',"state":"visible"',
    ',"state":"folded"',
    ',"hidden":"folded"',
    "[context ledger, not written by the user] view ",
)
"""Strings that are one text token each: of prose, of JSON, of the product's answers and markers."""

_MORE_WORDS = (
    *("true", "false", "null", "string", "integer", "number", "boolean", "object", "array", "any"),
    *("visible", "folded", "summary", "focus", "view", "of", "and", "more", "model", "policy"),
)

_ALWAYS = 1_000
"""How often each of the product's own words is counted, so that its merges come early."""

_SAMPLES = 600
"""Samples of the training corpus that merges are learned from."""

_RUNS = ("  ", "    ", "\n\n")
"""Runs of spaces and line ends that are counted with the words."""

_SIGNS = "“”‘’–—…·•→×°§£€，。：；！？（）《》、"
"""Signs beyond ASCII that are one token."""

_WORD = re.compile(r"[^\W\d_]+")


def train_tokenizer(texts: Iterable[str], *, vocab_size: int = VOCAB_SIZE) -> Tokenizer:
    """Return a tokenizer whose merges are learned from ``texts``.

    Args:
        texts: what the model is to read and write; only frequencies of pieces count.
        vocab_size: ids in all, protocol tokens, bytes and fixed strings included.

    Raises:
        ValueError: there is no room for the bytes, the protocol and the fixed strings.
    """
    room = vocab_size - TEXT_OFFSET - len(FIXED_STRINGS)
    if room < 256:
        raise ValueError(
            f"a vocabulary of {vocab_size} has no room for the 256 bytes: "
            f"it needs at least {vocab_size - room + 256}"
        )
    bpe = Bpe(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(PIECE_PATTERN), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=room,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
        min_frequency=2,
    )
    bpe.train_from_iterator(_counted(texts), trainer)
    bpe.add_tokens([AddedToken(text, normalized=False) for text in FIXED_STRINGS])
    return Tokenizer(bpe)


def _counted(texts: Iterable[str]) -> Iterator[str]:
    """Yield each text's words once, then the product's own words many times.

    A made-up name that one text repeats must not become a token: what counts is in how many texts
    a word occurs.
    """
    for text in texts:
        yield " ".join(sorted({*_WORD.findall(text)}))
    line = "1".join([*sorted(own_words()), *_RUNS, *_SIGNS])
    for _ in range(_ALWAYS):
        yield line


def own_words() -> set[str]:
    """Return the words of tool names, arguments, their values and answers."""
    names = [*TOOL_NAMES, *ARGUMENT_NAMES, *ANSWER_KEYS, *_MORE_WORDS]
    for tool in toolset("full").tools.values():
        for schema in tool.arguments.schema_of()["properties"].values():
            names += schema.get("enum", ())
    return {word for name in names for word in name.split("_")}


def corpus_texts() -> Iterator[str]:
    """Yield what the shipped tokenizer is learned from.

    The training corpus, and the paragraphs of Python's own help: without general English, words
    that no sample holds would be cut into single letters.
    """
    yield from iter_texts(0, samples=_SAMPLES)
    for topic in topics.topics.values():
        yield from topic.split("\n\n")


def main(arguments: list[str]) -> None:
    """Train on the corpus and write the tokenizer to a path, by default the shipped one's."""
    target = Path(arguments[0]) if arguments else SHIPPED
    tokenizer = train_tokenizer(corpus_texts())
    target.write_bytes(tokenizer.to_json())
    print(f"{target}: {tokenizer.vocab_size} ids")


if __name__ == "__main__":
    main(sys.argv[1:])
