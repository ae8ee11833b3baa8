"""Keys lead to tenants, and other sites' pages lead nowhere."""

import hashlib

import pytest

from sculptor.errors import SettingsError
from sculptor.server.auth import KeyRing, OriginGuard, is_loopback, require_keys_off_loopback
from sculptor.server.envelope import ApiError

HASHED = "sha256:" + hashlib.sha256(b"k-hashed").hexdigest()
RING = KeyRing({"k-one": "acme", "k-two": "beta", HASHED: "acme", "ключ": "umlaut"})


@pytest.mark.parametrize(
    ("headers", "tenant"),
    [
        ({"authorization": "Bearer k-one"}, "acme"),
        ({"authorization": "bearer  k-two "}, "beta"),
        ({"x-api-key": "k-hashed"}, "acme"),
        ({"x-api-key": "k-one", "authorization": "Bearer k-one"}, "acme"),
        ({"x-api-key": "k-one", "authorization": "Bearer "}, "acme"),
        ({"x-api-key": "k-one", "authorization": "Basic abc"}, "acme"),
        ({"authorization": "Bearer " + "ключ".encode().decode("latin-1")}, "umlaut"),
    ],
)
def test_a_key_names_its_tenant(headers: dict[str, str], tenant: str) -> None:
    caller = RING.identify(headers, client_host="203.0.113.9")
    assert caller.tenant == tenant
    assert caller.key is not None
    assert caller.key not in repr(caller)


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"authorization": "Bearer"},
        {"authorization": "Bearer k-on"},
        {"authorization": f"Bearer {HASHED}"},
        {"x-api-key": "漢"},
        {"x-api-key": "k-one", "authorization": "Bearer k-two"},
    ],
)
def test_all_else_is_refused(headers: dict[str, str]) -> None:
    with pytest.raises(ApiError) as caught:
        RING.identify(headers, client_host="127.0.0.1")
    assert (caught.value.status, caught.value.code) == (401, "invalid_api_key")
    assert caught.value.type == "authentication_error"


def test_without_keys_only_this_machine_is_served() -> None:
    ring = KeyRing({})
    headers = {"authorization": "Bearer sk-anything"}
    for host in ("127.0.0.1", "::1", "::ffff:127.0.0.1", None):
        caller = ring.identify(headers, client_host=host)
        assert (caller.tenant, caller.key) == ("local", "sk-anything")
    with pytest.raises(ApiError):
        ring.identify(headers, client_host="192.0.2.1")
    with pytest.raises(ApiError):
        ring.identify({"x-api-key": "a", "authorization": "Bearer b"}, client_host="127.0.0.1")


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "myhost"])
def test_other_machines_need_keys(host: str) -> None:
    assert not is_loopback(host)
    with pytest.raises(SettingsError, match="keys"):
        require_keys_off_loopback(host, KeyRing({}))
    require_keys_off_loopback(host, RING)
    require_keys_off_loopback("127.0.0.1", KeyRing({}))


@pytest.mark.parametrize("key", ["", "sha256:abc", "sha256:zz"])
def test_bad_keys_in_settings(key: str) -> None:
    with pytest.raises(SettingsError):
        KeyRing({key: "t"})


GUARD = OriginGuard(hosts=["box.example"], origins=["https://app.example/"])


@pytest.mark.parametrize(
    "headers",
    [
        {"host": "127.0.0.1:8484"},
        {"host": "localhost"},
        {"host": "[::1]:8484"},
        {"host": "BOX.example:1"},
        {"host": "localhost:8484", "origin": "http://localhost:8484"},
        {"host": "localhost:8484", "origin": "https://app.example"},
        {"host": "localhost", "sec-fetch-site": "same-origin"},
        {"host": "localhost", "sec-fetch-site": "cross-site", "sec-fetch-dest": "document"},
    ],
)
def test_known_names_and_own_pages_pass(headers: dict[str, str]) -> None:
    GUARD.check(headers)


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"host": "evil.example"},
        {"host": "localhost.evil.example"},
        {"host": "127.0.0.1.evil.example:8484"},
        {"host": "localhost:8484", "origin": "http://localhost:3000"},
        {"host": "localhost:8484", "origin": "http://evil.example"},
        {"host": "localhost:8484", "origin": "null"},
        {"host": "localhost:8484", "origin": ""},
        {"host": "localhost:8484", "sec-fetch-site": "cross-site"},
        {"host": "evil.example", "origin": "http://evil.example"},
    ],
)
def test_rebound_names_and_foreign_pages_do_not(headers: dict[str, str]) -> None:
    with pytest.raises(ApiError) as caught:
        GUARD.check(headers)
    assert (caught.value.status, caught.value.type) == (403, "permission_error")
