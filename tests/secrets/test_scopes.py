from __future__ import annotations

import os
import stat

import pytest

from dagrun.errors import TaskFailed, UserError
from dagrun.secrets.scopes import LocalSecrets, config_homes, redirect


@pytest.fixture
def secrets(tmp_path) -> LocalSecrets:
    return LocalSecrets({"secrets.set.here": "from settings", "params.a": "1"}, {"HOME": str(tmp_path)})


def put(home, key: str, value: str) -> None:
    home.joinpath("secrets").mkdir(parents=True, exist_ok=True)
    home.joinpath("secrets", key).write_text(value)


@pytest.mark.parametrize(
    ("environment", "homes"),
    [
        ({"HOME": "/h"}, ["/h/.config/dagrun", "/h/.config/digdag"]),
        ({"HOME": "/h", "XDG_CONFIG_HOME": "/x"}, ["/x/dagrun", "/x/digdag"]),
        ({"HOME": "/h", "XDG_CONFIG_HOME": "/x", "DIGDAG_CONFIG_HOME": "/d"}, ["/d"]),
        ({"DIGDAG_CONFIG_HOME": "/d", "DAGRUN_CONFIG_HOME": "/o"}, ["/o", "/d"]),
        ({"HOME": "/h", "DAGRUN_CONFIG_HOME": "", "XDG_CONFIG_HOME": ""}, ["/h/.config/dagrun", "/h/.config/digdag"]),
    ],
)
def test_the_configuration_directories(environment, homes):
    assert config_homes(environment) == homes


def test_settings_come_first_then_own_files_then_those_of_digdag(secrets, tmp_path):
    for home in ("dagrun", "digdag"):
        put(tmp_path / ".config" / home, "set.here", home)
        put(tmp_path / ".config" / home, "both", home)
    put(tmp_path / ".config" / "digdag", "old", "digdag")
    found = [secrets.get(key) for key in ("set.here", "both", "old", "none")]
    assert found == ["from settings", "dagrun", "digdag", None]


def test_the_content_of_a_file_is_the_value_as_it_is(secrets, tmp_path):
    put(tmp_path / ".config" / "digdag", "key", " ü\r\n")
    assert secrets.get("key") == " ü\r\n"


def test_what_is_set_can_be_read_by_its_owner_only(secrets, tmp_path):
    secrets.set("pg.password", "s\n")
    directory = tmp_path / ".config" / "dagrun" / "secrets"
    assert secrets.get("pg.password") == "s\n"
    assert os.listdir(directory) == ["pg.password"]
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert stat.S_IMODE((directory / "pg.password").stat().st_mode) == 0o600


def test_an_empty_value_is_a_value(secrets):
    secrets.set("empty", "")
    assert secrets.get("empty") == ""


def test_deleting_removes_the_key_everywhere(secrets, tmp_path):
    put(tmp_path / ".config" / "digdag", "key", "old")
    secrets.set("key", "new")
    assert secrets.delete("key")
    assert secrets.get("key") is None
    assert not secrets.delete("key")


def test_the_keys_are_listed_once_and_sorted(secrets, tmp_path):
    put(tmp_path / ".config" / "digdag", "b", "1")
    put(tmp_path / ".config" / "digdag", ".hidden", "1")
    secrets.set("b", "1")
    secrets.set("a-1", "1")
    assert secrets.keys() == ["a-1", "b", "set.here"]


@pytest.mark.parametrize("key", ["a", "a1", "A.b-c.d_e", "a" * 255])
def test_good_keys(secrets, key):
    secrets.set(key, "v")
    assert secrets.get(key) == "v"


@pytest.mark.parametrize("key", ["", "1a", "a-", "a_", "a..b", ".a", "a.", "../x", "a/b", "ü", "a\n", "a" * 256])
def test_bad_keys_can_not_be_set_and_have_no_value(secrets, key):
    with pytest.raises(UserError, match="can't be the key"):
        secrets.set(key, "v")
    assert secrets.get(key) is None
    assert not secrets.delete(key)


def test_a_value_has_at_most_16_KiB(secrets):
    secrets.set("a", "x" * 16384)
    with pytest.raises(UserError, match="16,384 are allowed"):
        secrets.set("a", "ü" * 8193)


def test_a_file_that_can_not_be_read_is_named(secrets, tmp_path):
    (tmp_path / ".config/dagrun/secrets/key").mkdir(parents=True)
    with pytest.raises(UserError, match=r"\.config/dagrun/secrets/key can't be read"):
        secrets.get("key")


@pytest.mark.parametrize(
    ("mounts", "key", "wanted"),
    [
        ({}, "pg.password", "pg.password"),
        ({"pg": "warehouse"}, "pg.password", "warehouse.password"),
        ({"pg": "warehouse.eu"}, "pg.a.b", "warehouse.eu.a.b"),
        ({"pg": "warehouse"}, "pg", "warehouse"),
        ({"pg": "warehouse"}, "pgx.password", "pgx.password"),
        ({"pg": {"password": "other.key"}}, "pg.password", "other.key"),
        ({"pg": {"password": "other.key"}}, "pg.user", "pg.user"),
        ({"pg": {"password": "other.key"}}, "pg", "pg"),
        ({"pg": True}, "pg.password", "pg.password"),
    ],
)
def test_redirects(mounts, key, wanted):
    assert redirect(mounts, key) == wanted


@pytest.mark.parametrize("mounts", [{"pg": False}, {"pg": 1}, {"pg": ["a"]}, {"pg": None}, {"pg": ""}])
def test_other_forms_are_refused(mounts):
    with pytest.raises(TaskFailed) as caught:
        redirect(mounts, "pg.password")
    assert (caught.value.kind, caught.value.category) == ("bad_option", "config")
    assert "_secrets" in caught.value.message
