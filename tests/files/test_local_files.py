"""The store of files in a folder."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from dagrun.errors import TaskFailed
from dagrun.files.store import FileStore, open_files

PAST = 1_700_000_000


def never() -> bool:
    return False


@pytest.fixture
def store(tmp_path) -> FileStore:
    return open_files(None, str(tmp_path / "state"), "store-1")


def the_object(tmp_path: Path) -> Path:
    (found,) = [path for path in (tmp_path / "state").rglob("*") if path.is_file()]
    return found


def test_a_task_that_runs_again_mends_a_damaged_file(store, tmp_path):
    (tmp_path / "x").write_bytes(b"bytes")
    put = store.put(str(tmp_path / "x"), "x", never)
    the_object(tmp_path).chmod(0o644)
    the_object(tmp_path).write_bytes(b"other")
    with pytest.raises(TaskFailed, match="damaged"):
        store.get(put, str(tmp_path / "y"), never)
    store.put(str(tmp_path / "x"), "x", never)
    store.get(put, str(tmp_path / "y"), never)
    assert (tmp_path / "y").read_bytes() == b"bytes"


def test_a_file_that_is_put_again_stays(store, tmp_path):
    """No attempt named it any more, and this one doesn't yet."""
    (tmp_path / "x").write_bytes(b"bytes")
    store.put(str(tmp_path / "x"), "x", never)
    os.utime(the_object(tmp_path), (PAST, PAST))
    assert store.sweep(set(), (PAST + 1) * 1_000_000, dry_run=True) == (1, 5)
    store.put(str(tmp_path / "x"), "x", never)
    assert store.sweep(set(), (PAST + 1) * 1_000_000, dry_run=False) == (0, 0)
    assert store.sweep(set(), 1 << 61, dry_run=False) == (1, 5)


def test_what_is_half_written_is_swept_when_it_is_old(store, tmp_path):
    (tmp_path / "x").write_bytes(b"bytes")
    store.put(str(tmp_path / "x"), "x", never)
    half = the_object(tmp_path).parent.parent / "new.abc"
    half.write_bytes(b"by")
    os.utime(half, (PAST, PAST))
    store.sweep(set(), (PAST + 1) * 1_000_000, dry_run=False)
    assert not half.exists()
    assert the_object(tmp_path).read_bytes() == b"bytes"


def test_a_file_has_the_rights_of_its_reader_alone(store, tmp_path):
    (tmp_path / "x").write_bytes(b"bytes")
    (tmp_path / "x").chmod(0o4755)
    assert store.put(str(tmp_path / "x"), "x", never).mode == 0o755
