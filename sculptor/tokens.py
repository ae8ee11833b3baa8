"""Token counts with the network cut.

Ranks come from the files shipped in the package, checked by SHA-256, never from a download; a model
of one's own is counted with the ``tokenizer.json`` that lies beside it. Text is
only ever text: a string that looks like a special token counts as the characters it is made of. A
count is always finished in linear time: the byte-pair merge works within one piece of its splitting
pattern, so a text without split points (a megabyte of one letter, of spaces, of base64) is first
cut into stretches of bounded length, which moves a count by at most a token or two for each.
"""

import hashlib
import math
import re
import threading
from array import array
from base64 import b64decode
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import cache
from importlib.resources import files
from itertools import accumulate, pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol

from sculptor.errors import SettingsError

if TYPE_CHECKING:
    from tiktoken import Encoding

EncodingName = Literal["o200k_base", "cl100k_base"]

UNKNOWN_TOKENIZER_FACTOR = 1.05
"""What a count is multiplied by while the upstream's tokenizer is not known."""

_STRETCH_CHARS = 2_048
_CACHE_ENTRIES = 65_536

_LETTERS_LOW = r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
_LETTERS_HIGH = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]"
_CONTRACTION = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?"


class _Definition(NamedTuple):
    """What makes an encoding: facts published with tiktoken (MIT), held against it by a test."""

    sha256: str
    pattern: str
    special_tokens: dict[str, int]


_DEFINITIONS: dict[str, _Definition] = {
    "o200k_base": _Definition(
        sha256="446a9538cb6c348e3516120d7c08b09f57c36495e2acfffe59a5bf8b0cfb1a2d",
        pattern="|".join(
            (
                rf"[^\r\n\p{{L}}\p{{N}}]?{_LETTERS_HIGH}*{_LETTERS_LOW}+{_CONTRACTION}",
                rf"[^\r\n\p{{L}}\p{{N}}]?{_LETTERS_HIGH}+{_LETTERS_LOW}*{_CONTRACTION}",
                r"\p{N}{1,3}",
                r" ?[^\s\p{L}\p{N}]+[\r\n/]*",
                r"\s*[\r\n]+",
                r"\s+(?!\S)",
                r"\s+",
            )
        ),
        special_tokens={"<|endoftext|>": 199999, "<|endofprompt|>": 200018},
    ),
    "cl100k_base": _Definition(
        sha256="223921b76ee99bde995b7ff738513eef100fb51d18c93597a113bcffe865b2a7",
        pattern="|".join(
            (
                r"'(?i:[sdmt]|ll|ve|re)",
                r"[^\r\n\p{L}\p{N}]?+\p{L}++",
                r"\p{N}{1,3}+",
                r" ?[^\s\p{L}\p{N}]++[\r\n]*+",
                r"\s++$",
                r"\s*[\r\n]",
                r"\s+(?!\S)",
                r"\s",
            )
        ),
        special_tokens={
            "<|endoftext|>": 100257,
            "<|fim_prefix|>": 100258,
            "<|fim_middle|>": 100259,
            "<|fim_suffix|>": 100260,
            "<|endofprompt|>": 100276,
        },
    ),
}

# Unicode's White_Space, which is what the patterns above call \s; Python's own \s has four more.
_SPACES = r"\t-\r \x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"
_SPACE = re.compile(f"[{_SPACES}]")
_NOT_SPACE = re.compile(f"[^{_SPACES}]")
_SURROGATE = re.compile("[\ud800-\udfff]")

_MODEL_ENCODINGS: tuple[tuple[str, EncodingName], ...] = (
    ("gpt-4o", "o200k_base"),
    ("gpt-4.1", "o200k_base"),
    ("gpt-4.5", "o200k_base"),
    ("gpt-5", "o200k_base"),
    ("gpt-oss", "o200k_base"),
    ("chatgpt-4o", "o200k_base"),
    ("o1", "o200k_base"),
    ("o3", "o200k_base"),
    ("o4-mini", "o200k_base"),
    ("gpt-4", "cl100k_base"),
    ("gpt-3.5", "cl100k_base"),
    ("text-embedding-3", "cl100k_base"),
    ("text-embedding-ada-002", "cl100k_base"),
)

_LOCAL = ".json"
_load_lock = threading.Lock()


class _Reader(Protocol):
    """What cuts a text without long runs into tokens."""

    def count(self, text: str) -> int:
        """Return how many tokens the text has."""
        ...

    def starts(self, text: str) -> Iterable[int]:
        """Return where each token begins, in code points."""
        ...


class _Ranks(NamedTuple):
    encoding: "Encoding"
    byte_lengths: bytes

    def count(self, text: str) -> int:
        return len(self.encoding.encode_ordinary(text))

    def starts(self, text: str) -> Iterable[int]:
        tokens = self.encoding.encode_ordinary(text)
        lengths = map(self.byte_lengths.__getitem__, tokens[:-1])
        byte_starts = accumulate(lengths, initial=0) if tokens else ()
        if text.isascii():
            return byte_starts
        return map(_character_of_byte(text).__getitem__, byte_starts)


class _Local:
    """A ``tokenizer.json``, read with the library that defines the format."""

    def __init__(self, path: Path) -> None:
        from tokenizers import Tokenizer

        try:
            self._tokenizer = Tokenizer.from_str(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise SettingsError(f"{path} cannot be read: {error.strerror}.") from error
        except Exception as error:  # the library raises nothing narrower
            raise SettingsError(f"{path} is no tokenizer.json: {error}.") from error
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()

    def count(self, text: str) -> int:
        return len(self._tokenizer.encode(text, add_special_tokens=False).ids)

    def starts(self, text: str) -> Iterable[int]:
        found = self._tokenizer.encode(text, add_special_tokens=False).offsets
        return (start for start, _ in found)


def encoding(name: str) -> "Encoding":
    """Return tiktoken's encoding of that name, built once from the shipped rank file.

    Raises:
        SettingsError: the name is unknown or the rank file is not the one that was shipped.
    """
    loaded = _loaded(name)
    if not isinstance(loaded, _Ranks):
        raise SettingsError(_unknown(name))
    return loaded.encoding


def encoding_name(model: str) -> EncodingName | None:
    """Return the encoding that OpenAI's model of this name uses, or None for other models."""
    base = model.lower().rpartition("/")[2]
    for prefix, name in _MODEL_ENCODINGS:
        if base == prefix or base.startswith((f"{prefix}-", f"{prefix}.", f"{prefix}:")):
            return name
    return None


def encoding_of(name: str) -> str:
    """Return ``name`` where it is a shipped encoding's, or a path that may be a tokenizer's.

    Raises:
        ValueError: it is neither; the text names what there is.
    """
    if name not in _DEFINITIONS and not name.endswith(_LOCAL):
        raise ValueError(_unknown(name))
    return name


class _CountCache:
    """The last counts by content, bounded, for use from several threads."""

    def __init__(self) -> None:
        self._counts: OrderedDict[tuple[str, bytes], int] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: tuple[str, bytes]) -> int | None:
        # Each of the two is atomic; what another thread drops between them was not known, then.
        try:
            self._counts.move_to_end(key)
            return self._counts[key]
        except KeyError:
            return None

    def __contains__(self, key: tuple[str, bytes]) -> bool:
        return key in self._counts

    def put(self, key: tuple[str, bytes], tokens: int) -> None:
        with self._lock:
            self._counts[key] = tokens
            if len(self._counts) > _CACHE_ENTRIES:
                self._counts.popitem(last=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenCounter:
    """Counts tokens as one encoding does, times ``factor`` where the tokenizer is another.

    ``encoding`` is the name of a shipped one, or the path of a model's ``tokenizer.json``. Counters
    made from each other by ``with_factor`` share one bounded cache.
    """

    encoding: str = "o200k_base"
    factor: float = 1.0
    _cache: _CountCache = field(default_factory=_CountCache, repr=False, compare=False)

    def __post_init__(self) -> None:
        try:
            encoding_of(self.encoding)
        except ValueError as error:
            raise SettingsError(str(error)) from None
        if not 0 < self.factor < math.inf:
            raise SettingsError(f"The token factor is {self.factor}; it must be above zero.")

    @classmethod
    def for_model(cls, model: str) -> "TokenCounter":
        """Return the counter for a model's name, with a reserve of 5 % where it is unknown."""
        name = encoding_name(model)
        if name is None:
            return cls(factor=UNKNOWN_TOKENIZER_FACTOR)
        return cls(encoding=name)

    def with_factor(self, factor: float) -> "TokenCounter":
        """Return the same counter with another factor."""
        return replace(self, factor=factor)

    def count(self, text: str, *, key: bytes | None = None) -> int:
        """Return the tokens of ``text``.

        ``key`` is a hash of the text where the caller has one, so that a known text is not even
        read; without it the text is hashed here.
        """
        return self.scaled(self.raw_count(text, key=key))

    def count_parts(self, texts: Iterable[str]) -> int:
        """Return the tokens of several texts, each counted for itself, rounded up once."""
        return self.scaled(sum(map(self.raw_count, texts)))

    def raw_count(self, text: str, *, key: bytes | None = None) -> int:
        """Return the tokens of ``text`` in the encoding itself, before the factor."""
        if not text:
            return 0
        slot = (self.encoding, key or _content_key(text))
        known = self._cache.get(slot)
        if known is None:
            known = sum(map(_loaded(self.encoding).count, _stretches(text)))
            self._cache.put(slot, known)
        return known

    def is_known(self, key: bytes) -> bool:
        """Whether the text with this ``key`` was counted, and not so long ago that it is lost."""
        return (self.encoding, key) in self._cache

    def scaled(self, raw_tokens: int) -> int:
        """Return tokens of the encoding as tokens of the upstream, rounded up."""
        if self.factor == 1.0:
            return raw_tokens
        return math.ceil(round(raw_tokens * self.factor, 6))

    def offsets(self, text: str) -> "array[int]":
        """Return where each token of the encoding begins, in code points of ``text``.

        A token that begins inside a character's bytes stands at that character, so equal numbers
        may follow each other. The first is 0; a text of no characters has no tokens.
        """
        loaded, starts = _loaded(self.encoding), array("Q")
        at = 0
        for stretch in _stretches(text):
            starts.extend(start + at for start in loaded.starts(stretch))
            at += len(stretch)
        return starts


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """The factor between our count and what the upstream reports, learned from its usage.

    An exponential mean over about the last ten requests, kept within bounds so that one odd report
    (a cached prefix left out, an image counted) cannot make every later budget absurd. Until the
    first report the count stands.
    """

    factor: float = 1.0
    reports: int = 0

    def observe(self, counted_tokens: int, *, reported_tokens: int) -> "Calibration":
        """Return the calibration after one more report; short requests say nothing and are left."""
        if counted_tokens < LEAST_TELLING_TOKENS or reported_tokens <= 0:
            return self
        low, high = _CALIBRATION_BOUNDS
        ratio = min(max(reported_tokens / counted_tokens, low), high)
        weight = max(1 / (self.reports + 1), _CALIBRATION_WEIGHT)
        factor = self.factor + weight * (ratio - self.factor)
        return Calibration(factor=factor, reports=self.reports + 1)


LEAST_TELLING_TOKENS = 2_000
"""In a shorter request a chat template's own tokens weigh too much to calibrate by."""

_CALIBRATION_BOUNDS = (0.95, 4.5)  # below the count, a report is more often wrong than true
_CALIBRATION_WEIGHT = 0.1


def _loaded(name: str) -> _Reader:
    with _load_lock:
        return _load(name)


@cache
def _load(name: str) -> _Reader:
    if name.endswith(_LOCAL):
        return _Local(Path(name))
    from tiktoken import Encoding

    if name not in _DEFINITIONS:
        raise SettingsError(_unknown(name))
    definition = _DEFINITIONS[name]
    ranks = _read_ranks(name, definition.sha256)
    built = Encoding(
        name,
        pat_str=definition.pattern,
        mergeable_ranks=ranks,
        special_tokens=definition.special_tokens,
    )
    lengths = bytearray(max(ranks.values()) + 1)
    for token, rank in ranks.items():
        lengths[rank] = len(token)
    return _Ranks(built, bytes(lengths))


def _read_ranks(name: str, sha256: str) -> dict[bytes, int]:
    path = files("sculptor").joinpath("data", "tiktoken", f"{name}.tiktoken")
    try:
        content = path.read_bytes()
    except FileNotFoundError as missing:
        raise SettingsError(f"{path} is missing; install the package again.") from missing
    if hashlib.sha256(content).hexdigest() != sha256:
        raise SettingsError(f"{path} is not the file that was shipped; install the package again.")
    ranks: dict[bytes, int] = {}
    for line in content.splitlines():
        token, rank = line.split()
        ranks[b64decode(token)] = int(rank)
    return ranks


def _unknown(name: str) -> str:
    return (
        f"No token encoding {name!r} is shipped; choose one of {', '.join(_DEFINITIONS)}, or give "
        "the path of a tokenizer.json."
    )


def _content_key(text: str) -> bytes:
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()


def _stretches(text: str) -> list[str]:
    """Split where a whole block is only spaces or holds none, so that no run goes on for long."""
    text = _encodable(text)
    cuts = [at for at in range(0, len(text), _STRETCH_CHARS) if _is_run(text, at)]
    bounds = [0, *(at for at in cuts if at), len(text)]
    return [text[a:b] for a, b in pairwise(bounds) if a < b]


def _encodable(text: str) -> str:
    """Return the text with lone surrogates replaced, character for character."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return _SURROGATE.sub("\ufffd", text)
    return text


def _is_run(text: str, at: int) -> bool:
    end = at + _STRETCH_CHARS
    if end > len(text):
        return False
    return not (_SPACE.search(text, at, end) and _NOT_SPACE.search(text, at, end))


def _character_of_byte(text: str) -> "array[int]":
    """Return, for each byte of the text's UTF-8 form, the character it belongs to."""
    firsts = accumulate(text.encode().translate(_FIRST_BYTES))
    return array("Q", (count - 1 for count in firsts))


_FIRST_BYTES = bytes(0 if 0x80 <= byte < 0xC0 else 1 for byte in range(256))
