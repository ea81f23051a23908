from __future__ import annotations

import pytest

from dagrun.cli.opened import DATABASE, Opened, retry_command
from dagrun.store.dialects import without_password

URL = "postgresql://me:hunter2@db.example/batch"


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        (URL, "postgresql://me:***@db.example/batch"),
        ("postgresql://me:a@b:c@db/batch", "postgresql://me:***@db/batch"),
        ("postgresql://me@db/batch", "postgresql://me@db/batch"),
        ("postgresql://db/batch", "postgresql://db/batch"),
        ("state.db", "state.db"),
    ],
)
def test_a_password_is_never_shown(url, shown):
    assert without_password(url) == shown


def test_the_command_that_retries_keeps_the_password_to_itself(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(DATABASE, raising=False)
    command = retry_command(Opened(str(tmp_path), URL), 7)
    assert command == "dagrun retry 7 --database 'postgresql://me:***@db.example/batch'"


def test_a_database_that_the_environment_names_need_not_be_named_again(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(DATABASE, URL)
    assert retry_command(Opened(str(tmp_path), URL), 7) == "dagrun retry 7"


def test_the_command_names_the_project_of_another_directory(tmp_path, monkeypatch):
    (tmp_path / "etl").mkdir()
    monkeypatch.chdir(tmp_path)
    assert retry_command(Opened(str(tmp_path / "etl")), 7) == "dagrun retry 7 --project etl"
