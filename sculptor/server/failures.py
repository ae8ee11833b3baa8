"""How an upstream can fail that only a server knows of; branches of ``UpstreamError``.

UpstreamError
├─ CircuitOpen              it failed too often lately and is left alone
├─ UpstreamStatus
│  └─ ClientKeyRefused      it refused the client's own key, which was passed on
└─ UpstreamBroken
   └─ UpstreamUnreachable   no connection could be made, however often it was tried
"""

from sculptor.errors import UpstreamBroken, UpstreamError, UpstreamStatus


class CircuitOpen(UpstreamError):
    """Raised when the upstream failed too often lately and is not asked."""

    def __init__(self, retry_after_s: float) -> None:
        self.retry_after_s = retry_after_s
        super().__init__(
            f"The upstream failed repeatedly and is not asked for {retry_after_s:.0f} s."
        )


class ClientKeyRefused(UpstreamStatus):
    """Raised when the upstream answers 401 or 403 to a key that was the client's own."""


class UpstreamUnreachable(UpstreamBroken):
    """Raised when no connection to the upstream could be made."""
