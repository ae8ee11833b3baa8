"""Who asks, and whether a browser was tricked into asking.

A key names a tenant. Keys are kept as SHA-256 digests and looked up by a digest of these that is
keyed with a secret of this process, so neither the memory nor the time of an answer tells one.
Without any key the server serves this machine alone, as one tenant.

A web page can make a browser send requests to this machine, and by a name of its own that points
here (DNS rebinding) even read the answers. So what people use, the management API and the page,
answers to known host names only, and to pages of its own origin only.
"""

import hashlib
import hmac
import ipaddress
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache

from sculptor.errors import SettingsError
from sculptor.server.envelope import ApiError

LOCAL_TENANT = "local"
_DIGEST_PREFIX = "sha256:"
_LOCAL_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Who sent a request: the tenant, a short name of the key for limits and logs, the key."""

    tenant: str
    key_id: str
    key: str | None = field(default=None, repr=False)


class KeyRing:
    """The keys this server accepts, each with its tenant.

    ``keys`` maps a key, or ``sha256:`` and the hexadecimal digest of one, to a tenant.
    """

    __slots__ = ("_secret", "_tenants")

    def __init__(self, keys: Mapping[str, str]) -> None:
        self._secret = secrets.token_bytes(32)
        self._tenants = {
            self._blind(digest): (digest, tenant)
            for digest, tenant in ((_digest_of(key), tenant) for key, tenant in keys.items())
        }

    @property
    def is_empty(self) -> bool:
        """Whether no key is configured, so that only this machine is served."""
        return not self._tenants

    def identify(self, headers: Mapping[str, str], *, client_host: str | None) -> Caller:
        """Return who asks; ``headers`` has lower-case names, ``client_host`` is the peer address.

        Raises ``ApiError`` (401) for a key that is missing, unknown, or not the only one sent.
        """
        key = _read_key(headers)
        if not self._tenants:
            if not is_loopback(client_host):
                raise _unauthorized("This server has no keys and serves its own machine only.")
            return Caller(tenant=LOCAL_TENANT, key_id=LOCAL_TENANT, key=key)
        if key is None:
            raise _unauthorized("No API key; send one in the Authorization header (scheme Bearer).")
        # Header text is Latin-1; this gives back the bytes that were sent.
        digest = hashlib.sha256(key.encode("latin-1", "replace")).digest()
        known, tenant = self._tenants.get(self._blind(digest), (b"", ""))
        if not hmac.compare_digest(known, digest):
            raise _unauthorized("The API key is not known here.")
        return Caller(tenant=tenant, key_id=digest.hex()[:12], key=key)

    def _blind(self, digest: bytes) -> bytes:
        return hashlib.blake2b(digest, key=self._secret, digest_size=16).digest()


class OriginGuard:
    """Keeps other sites' pages from the management API and the inspector."""

    __slots__ = ("_hosts", "_origins")

    def __init__(self, *, hosts: Iterable[str] = (), origins: Iterable[str] = ()) -> None:
        """Take further host names the server is known by, and origins that may use its API."""
        self._hosts = _LOCAL_NAMES | {host.lower() for host in hosts}
        self._origins = frozenset(origin.lower().rstrip("/") for origin in origins)

    def check(self, headers: Mapping[str, str]) -> None:
        """Refuse a request by a foreign name or from a foreign page; raises ``ApiError`` (403)."""
        host = headers.get("host", "").lower()
        if _name_of(host) not in self._hosts:
            raise ApiError(
                403,
                f"This server is not known as {host!r}; add the name to hosts in its settings.",
                code="host_not_allowed",
            )
        origin = headers.get("origin")
        if origin is None:
            # A link followed by a person is no page reaching in: its site cannot read the answer.
            if headers.get("sec-fetch-site", "none") in ("none", "same-origin"):
                return
            if headers.get("sec-fetch-dest") == "document":
                return
        elif origin.lower() in self._origins or origin.lower().partition("://")[2] == host:
            return
        raise ApiError(
            403, "Pages of other origins may not use this API.", code="origin_not_allowed"
        )


def require_keys_off_loopback(host: str, keys: KeyRing) -> None:
    """Refuse to serve other machines without keys; raises ``SettingsError``."""
    if keys.is_empty and not is_loopback(host):
        raise SettingsError(
            f"Serving on {host} lets other machines in, and no keys are set. "
            "Set keys, or serve on 127.0.0.1."
        )


@lru_cache(maxsize=256)
def is_loopback(host: str | None) -> bool:
    """Tell whether an address is this machine's own; None is a local socket file."""
    if host is None or host == "localhost":
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return (mapped or address).is_loopback


def _read_key(headers: Mapping[str, str]) -> str | None:
    scheme, _, bearer = headers.get("authorization", "").partition(" ")
    sent = {bearer.strip()} if scheme.lower() == "bearer" else set()
    sent.add(headers.get("x-api-key", "").strip())
    sent.discard("")
    if len(sent) > 1:
        raise _unauthorized("Authorization and x-api-key hold different keys; send one of them.")
    return sent.pop() if sent else None


def _digest_of(key: str) -> bytes:
    if not key.startswith(_DIGEST_PREFIX):
        if not key:
            raise SettingsError("An API key in the settings is empty.")
        return hashlib.sha256(key.encode()).digest()
    try:
        digest = bytes.fromhex(key.removeprefix(_DIGEST_PREFIX))
    except ValueError:
        digest = b""
    if len(digest) != hashlib.sha256().digest_size:
        raise SettingsError("A key in the settings begins with sha256: but is no such digest.")
    return digest


def _name_of(host: str) -> str:
    """Return the name in a Host header, without port and brackets."""
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.rpartition(":")[0] if ":" in host else host


def _unauthorized(message: str) -> ApiError:
    return ApiError(401, message, code="invalid_api_key", headers={"www-authenticate": "Bearer"})
