"""Server-sent events, decoded from bytes as they arrive.

Whatever way the bytes are cut, the same frames come out. Comments and fields other than ``data``
are skipped, ``data:`` may stand without a space, lines may end in LF, CRLF or CR, and several data
lines make one payload. Payloads stay bytes, so a character cut in two is whole again before anyone
decodes it.
"""

from sculptor.errors import UpstreamBroken

FRAME_LIMIT_BYTES = 8 * 1024 * 1024
_BOM = b"\xef\xbb\xbf"


class EventDecoder:
    """The data of an event stream, frame by frame."""

    __slots__ = ("_limit", "_pending", "_pending_bytes", "_skip_line_feed")

    def __init__(self, *, limit_bytes: int = FRAME_LIMIT_BYTES) -> None:
        self._limit = limit_bytes
        self._pending: list[bytes] = []
        self._pending_bytes = 0
        self._skip_line_feed = False

    @property
    def is_inside_frame(self) -> bool:
        """Whether part of a frame that is no comment has arrived."""
        return bool(self._pending) and not self._pending[0].startswith((b":", b"\n"))

    def feed(self, data: bytes) -> list[bytes]:
        """Take what arrived and return the payloads that are now whole.

        Raises ``UpstreamBroken`` where a frame grows past the limit.
        """
        if self._skip_line_feed or b"\r" in data:
            data = self._to_line_feeds(data)
        if not data:
            return []
        # A frame ends at an empty line; one that is cut in two shows only where pieces meet.
        if self._pending:
            if b"\n\n" not in data and not (data[0] == 10 and self._pending[-1][-1] == 10):
                return self._keep(data)
            self._pending.append(data)
            data = b"".join(self._pending)
            self._pending.clear()
            self._pending_bytes = 0
        blocks = data.split(b"\n\n")
        rest = blocks.pop()
        payloads = []
        for block in blocks:
            if block.startswith(b"data: ") and b"\n" not in block:
                payload: bytes | None = block[6:]
            else:
                payload = _read_block(block)
            if payload is not None:
                if len(payload) > self._limit:
                    raise self._too_long()
                payloads.append(payload)
        if rest:
            self._keep(rest)
        return payloads

    def close(self) -> list[bytes]:
        """Return the payload of a last frame that lacks its empty line, if there is one."""
        payload = _read_block(b"".join(self._pending))
        self._pending.clear()
        self._pending_bytes = 0
        return [] if payload is None else [payload]

    def _to_line_feeds(self, data: bytes) -> bytes:
        # A CR that ended the last piece was already taken for a line end; its LF may come now.
        if self._skip_line_feed and data.startswith(b"\n"):
            data = data[1:]
            self._skip_line_feed = False
        if data:
            self._skip_line_feed = data.endswith(b"\r")
        return data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")

    def _keep(self, data: bytes) -> list[bytes]:
        self._pending.append(data)
        self._pending_bytes += len(data)
        if self._pending_bytes > self._limit:
            raise self._too_long()
        return []

    def _too_long(self) -> UpstreamBroken:
        return UpstreamBroken(f"The upstream sent a frame of over {self._limit} bytes.")


def _read_block(block: bytes) -> bytes | None:
    """Return the joined data lines of one frame, or None if it has none."""
    lines = []
    for line in block.removeprefix(_BOM).split(b"\n"):
        name, _, value = line.partition(b":")
        if name == b"data":
            lines.append(value.removeprefix(b" "))
    return b"\n".join(lines) if lines else None
