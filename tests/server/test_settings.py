"""Client keys from the environment: one a tenant, and nothing that only looks like a key."""

from pathlib import Path

import pytest

from sculptor.errors import SettingsError
from sculptor.server.settings import load_settings


def keys_of(text: str, folder: Path) -> dict[str, str]:
    settings, _ = load_settings(environment={"SCULPTOR_KEYS": text}, folder=folder)
    return {tenant: key.get_secret_value() for tenant, key in settings.keys.items()}


@pytest.mark.parametrize(
    ("text", "keys"),
    [
        ("k1", {"local": "k1"}),
        ("ann=k1, bob=k2,", {"ann": "k1", "bob": "k2"}),
        ("k1,ann=k2", {"local": "k1", "ann": "k2"}),
        ("ann=k1==", {"ann": "k1=="}),
        ("ann=sha256:" + "0" * 64, {"ann": "sha256:" + "0" * 64}),
    ],
)
def test_each_tenant_has_its_key(text: str, keys: dict[str, str], tmp_path: Path) -> None:
    assert keys_of(text, tmp_path) == keys


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("secret1,secret2", "several keys for the tenant local"),
        ("secret1,local=secret2", "several keys for the tenant local"),
        ("ann=secret1,ann=secret1", "several keys for the tenant ann"),
        ('{"ann":"secret1"}', "SCULPTOR_KEYS holds {"),
        ('["secret1"]', r"SCULPTOR_KEYS holds \["),
        ('ann="secret1"', 'SCULPTOR_KEYS holds "'),
    ],
)
def test_what_is_no_list_of_keys_is_refused_without_telling_a_key(
    text: str, words: str, tmp_path: Path
) -> None:
    with pytest.raises(SettingsError, match=words) as caught:
        keys_of(text, tmp_path)
    assert "secret" not in str(caught.value)
    assert "tenant=key,tenant=key" in str(caught.value)


def test_a_problem_that_ends_in_a_full_stop_has_one(tmp_path: Path) -> None:
    with pytest.raises(SettingsError) as caught:
        load_settings({"encoding": "nope"}, environment={}, folder=tmp_path)
    assert "nope" in str(caught.value)
    assert str(caught.value).endswith(".")
    assert not str(caught.value).endswith("..")
