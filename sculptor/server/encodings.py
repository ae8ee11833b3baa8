"""Encoded bodies, unpacked piece by piece, so that a small body cannot become a huge one.

Every codec gives out at most as much as it is asked for, and waits. Whoever drives one stops when
the sum is over the limit, long before the memory is spent.
"""

import sys
import zlib
from collections.abc import Callable, Iterator
from typing import Any, Protocol

from sculptor.server.envelope import ApiError

_STEP_BYTES = 256 * 1024
_WINDOW_LOG_MAX = 25  # zstd may ask for a window of up to 2 GiB; 32 MiB is enough for any body


class _Codec(Protocol):
    def unpack(self, data: bytes, limit: int) -> bytes:
        """Return at most about ``limit`` more bytes; ``data`` is empty while output is owed."""
        ...

    @property
    def owes_output(self) -> bool: ...

    @property
    def is_finished(self) -> bool: ...


class Unpacker:
    """One encoded body on its way in."""

    __slots__ = ("_codec", "_is_begun", "_name")

    def __init__(self, name: str) -> None:
        """Take the value of ``Content-Encoding``; an unknown one raises ``ApiError`` (415)."""
        make = _CODECS.get(name)
        if make is None:
            known = ", ".join(_CODECS)
            raise ApiError(
                415,
                f"Content-Encoding {name!r} is not supported; send one of {known}, or none.",
                code="unsupported_content_encoding",
            )
        self._name = name
        self._codec = make()
        self._is_begun = False

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Yield what the data unpacks to, in steps of moderate size.

        Raises ``ApiError`` (400) where it is not in the encoding.
        """
        if not data:
            return
        self._is_begun = True
        if self._codec.is_finished:
            raise self._bad("goes on after its end")
        try:
            yield self._codec.unpack(data, _STEP_BYTES)
            while self._codec.owes_output:
                yield self._codec.unpack(b"", _STEP_BYTES)
        except ApiError:
            raise
        except Exception as error:  # each codec has an error type of its own
            raise self._bad("is damaged") from error

    def close(self) -> None:
        """Note the end of the data; raises ``ApiError`` (400) where the body is cut off."""
        if self._is_begun and not self._codec.is_finished:
            raise self._bad("is cut off")

    def _bad(self, what: str) -> ApiError:
        return ApiError(400, f"The {self._name} body {what}.", code="invalid_value")


class _Zlib:
    __slots__ = ("_bits", "_inflate", "_owed")

    def __init__(self, bits: int | None) -> None:
        self._bits = bits
        self._inflate = None if bits is None else zlib.decompressobj(bits)
        self._owed = b""

    def unpack(self, data: bytes, limit: int) -> bytes:
        if self._inflate is None:
            # "deflate" means zlib's format, but some clients send the bare stream.
            is_zlib = data[0] & 0x0F == 8 and (len(data) < 2 or (data[0] << 8 | data[1]) % 31 == 0)
            self._inflate = zlib.decompressobj(zlib.MAX_WBITS if is_zlib else -zlib.MAX_WBITS)
        unpacked = self._inflate.decompress(self._owed + data, limit)
        self._owed = self._inflate.unconsumed_tail
        if self._inflate.unused_data:
            raise ValueError("data after the end")
        return unpacked

    @property
    def owes_output(self) -> bool:
        return bool(self._owed)

    @property
    def is_finished(self) -> bool:
        return self._inflate is not None and self._inflate.eof


class _Brotli:
    __slots__ = ("_inflate", "_is_full")

    def __init__(self) -> None:
        import brotli  # type: ignore[import-untyped]  # it ships no types

        self._inflate: Any = brotli.Decompressor()
        self._is_full = False

    def unpack(self, data: bytes, limit: int) -> bytes:
        unpacked: bytes = self._inflate.process(data, output_buffer_limit=limit)
        self._is_full = len(unpacked) >= limit  # it may hold output back with all input taken
        return unpacked

    @property
    def owes_output(self) -> bool:
        if self.is_finished:
            return False
        return self._is_full or not self._inflate.can_accept_more_data()

    @property
    def is_finished(self) -> bool:
        return bool(self._inflate.is_finished())


class _Zstd:
    __slots__ = ("_inflate",)

    def __init__(self) -> None:
        if sys.version_info >= (3, 14):
            from compression import zstd
        else:
            from backports import zstd

        window = {zstd.DecompressionParameter.window_log_max.value: _WINDOW_LOG_MAX}
        self._inflate = zstd.ZstdDecompressor(options=window)

    def unpack(self, data: bytes, limit: int) -> bytes:
        unpacked: bytes = self._inflate.decompress(data, limit)
        if self._inflate.eof and self._inflate.unused_data:
            raise ValueError("data after the end")
        return unpacked

    @property
    def owes_output(self) -> bool:
        return not (self._inflate.needs_input or self._inflate.eof)

    @property
    def is_finished(self) -> bool:
        return bool(self._inflate.eof)


_CODECS: dict[str, Callable[[], _Codec]] = {
    "gzip": lambda: _Zlib(16 + zlib.MAX_WBITS),
    "x-gzip": lambda: _Zlib(16 + zlib.MAX_WBITS),
    "deflate": lambda: _Zlib(None),
    "br": _Brotli,
    "zstd": _Zstd,
}
