"""Text to tokens and back: byte-level BPE whose merges stay within one class of characters.

Any byte string round-trips. A run of letters, of spaces or of line ends is split by merges; every
other character, each digit and each sign, is a piece of its own, so that a word is cut in the same
way wherever it stands. Some fixed strings are tokens of text, too: parts of the product's own
answers and markers, a sign with its space, and the few commonest words of grammar between two
spaces. Encoding never yields a protocol token, whatever the text.
"""

import re
from collections.abc import Iterable
from functools import cache
from importlib.resources import files
from pathlib import Path

import orjson
from tokenizers import Tokenizer as Bpe

from sculptor.mom.language.protocol import SPELLINGS, TEXT_BELOW, TEXT_OFFSET

PIECE_PATTERN = r"[\p{L}\p{M}]+| +|\n+|[^\p{L}\p{M} \n]"
"""What is split alone: letters, spaces, line ends, or one other character."""

_STRAY = re.compile("([\ud800-\udfff]+)")


class TokenizerError(ValueError):
    """A tokenizer file that is missing or holds no tokenizer of ours."""


class Tokenizer:
    """A vocabulary of protocol tokens, the 256 bytes, merges and fixed strings."""

    def __init__(self, bpe: Bpe) -> None:
        self._bpe = bpe
        self._bytes: list[bytes | None] = [*[None] * TEXT_OFFSET, *_spellings(bpe)]
        for token, data in TEXT_BELOW.items():
            self._bytes[token] = data
        self._stray = [self._bytes.index(bytes([value])) for value in range(256)]

    @property
    def vocab_size(self) -> int:
        """The number of ids, the unused ones of the protocol included."""
        return len(self._bytes)

    def encode(self, text: str) -> list[int]:
        """Return the text tokens of ``text``; half surrogates become the bytes they would take."""
        if not text.isascii() and _STRAY.search(text):
            return self.encode_bytes(text.encode("utf-8", "surrogatepass"))
        return [TEXT_OFFSET + token for token in self._bpe.encode(text).ids]

    def encode_bytes(self, data: bytes) -> list[int]:
        """Return the text tokens of any bytes; those that are no UTF-8 are tokens one by one."""
        pieces = _STRAY.split(data.decode("utf-8", "surrogateescape"))
        tokens: list[int] = []
        for number, piece in enumerate(pieces):
            if number % 2:
                tokens += (self._stray[ord(char) - 0xDC00] for char in piece)
            else:
                tokens += (TEXT_OFFSET + token for token in self._bpe.encode(piece).ids)
        return tokens

    def decode_bytes(self, tokens: Iterable[int]) -> bytes:
        """Return the bytes of the text tokens; protocol tokens add nothing."""
        return b"".join(self._bytes[token] or b"" for token in tokens)

    def decode(self, tokens: Iterable[int]) -> str:
        """Return the text of the text tokens, with U+FFFD for what is no UTF-8."""
        return self.decode_bytes(tokens).decode("utf-8", "replace")

    def token_bytes(self, token: int) -> bytes | None:
        """Return what a text token stands for, or None for a protocol token."""
        return self._bytes[token]

    def spelling(self, token: int) -> bytes:
        """Return what a token stands for inside a call: names of tools and arguments, or text."""
        return SPELLINGS.get(token) or self._bytes[token] or b""

    def to_json(self) -> bytes:
        """Return the file of the tokenizer; protocol tokens are not in it."""
        return orjson.dumps(orjson.loads(self._bpe.to_str())) + b"\n"

    def __reduce__(self) -> tuple[type["Tokenizer"], tuple[Bpe]]:
        return Tokenizer, (self._bpe,)


def load_tokenizer(path: Path | None = None) -> Tokenizer:
    """Return the tokenizer of a file, or the shipped one.

    Raises:
        TokenizerError: there is no such file, or it holds no tokenizer of this form.
    """
    if path is None:
        return _shipped()
    try:
        return _parse(path.read_text("utf-8"))
    except OSError as error:
        raise TokenizerError(f"cannot read the tokenizer {path}: {error.strerror}") from None
    except Exception as error:  # the library raises bare Exception for a file it cannot read
        raise TokenizerError(
            f"{path} holds no tokenizer of this model ({error}); make one with "
            "sculptor.mom.recipes.tokenizer"
        ) from None


@cache
def _shipped() -> Tokenizer:
    return _parse((files("sculptor.mom.language") / "tokenizer.json").read_text("utf-8"))


def _parse(text: str) -> Tokenizer:
    return Tokenizer(Bpe.from_str(text))


def _spellings(bpe: Bpe) -> list[bytes]:
    """Return the bytes of each text token by its number in the file."""
    fixed = {number: added.content for number, added in bpe.get_added_tokens_decoder().items()}
    table: list[bytes] = []
    alphabet = byte_alphabet()
    for number in range(bpe.get_vocab_size()):
        if number in fixed:
            table.append(fixed[number].encode())
            continue
        token = bpe.id_to_token(number)
        if token is None:
            raise TokenizerError(f"the vocabulary has no token {number}")
        table.append(bytes(alphabet[char] for char in token))
    if len({value for value in table if len(value) == 1}) != 256:
        raise TokenizerError("the vocabulary lacks some of the 256 bytes")
    return table


@cache
def byte_alphabet() -> dict[str, int]:
    """Return the byte that each character of a byte-level vocabulary stands for.

    Printable Latin-1 characters stand for themselves; the other bytes, in order, for the characters
    from U+0100 on (the byte-level alphabet of GPT-2, which the library writes).
    """
    plain = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    rest = [value for value in range(256) if value not in set(plain)]
    return {chr(value): value for value in plain} | {
        chr(0x100 + number): value for number, value in enumerate(rest)
    }
