"""Files on S3: the real client library, against a server that speaks the real protocol."""

from __future__ import annotations

import socket
import subprocess
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

from dagrun.core.files import Output
from dagrun.errors import TaskFailed
from dagrun.files.remote import hashed
from dagrun.files.store import Stopped, TransferStopped, open_files
from tests.daemon.site import Site
from tests.missing import give_up

KEYS = {"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "y", "AWS_DEFAULT_REGION": "us-east-1"}


@pytest.fixture
def endpoint(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    from moto.server import ThreadedMotoServer  # half a second for each process of the tests

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    url = f"http://{host}:{port}"
    for name, value in {**KEYS, "AWS_ENDPOINT_URL": url}.items():
        monkeypatch.setenv(name, value)
    urllib.request.urlopen(urllib.request.Request(f"{url}/moto-api/reset", method="POST"))  # one memory a process
    bucket().create_bucket(Bucket="harbour")
    yield url
    server.stop()


@pytest.fixture
def store(endpoint: str, tmp_path):
    return open_files("s3://harbour/files/", str(tmp_path), "store-1")


def bucket() -> Any:
    from boto3 import client

    return client("s3")


def keys() -> list[str]:
    return [one["Key"] for one in bucket().list_objects_v2(Bucket="harbour").get("Contents", [])]


def never() -> bool:
    return False


def test_a_file_comes_back_as_it_was(store, tmp_path):
    source = tmp_path / "x"
    source.write_bytes(b"bytes" * 10_000_000)  # several parts
    source.chmod(0o750)
    put = store.put(str(source), "dir/x", never)
    assert (put.path, put.size, put.mode) == ("dir/x", 50_000_000, 0o750)
    assert keys() == [f"files/store-1/{put.sha256[:2]}/{put.sha256[2:]}"]
    store.get(put, str(tmp_path / "y"), never)
    assert (tmp_path / "y").read_bytes() == source.read_bytes()
    assert (tmp_path / "y").stat().st_mode & 0o777 == 0o750


def test_what_is_damaged_or_gone_is_told(store, tmp_path):
    source = tmp_path / "x"
    source.write_bytes(b"bytes")
    put = store.put(str(source), "x", never)
    bucket().put_object(Bucket="harbour", Key=keys()[0], Body=b"other")
    with pytest.raises(TaskFailed, match="damaged"):
        store.get(put, str(tmp_path / "y"), never)
    assert not (tmp_path / "y").exists()
    with pytest.raises(TaskFailed, match="not in the store any more"):
        store.get(Output("x", "0" * 64, 1, 0o644), str(tmp_path / "y"), never)


def test_an_upload_that_is_stopped_leaves_nothing(store, tmp_path):
    source = tmp_path / "x"
    source.write_bytes(b"b" * 40_000_000)
    asked = iter([False] * 60)  # of 76 questions
    with pytest.raises(TransferStopped):
        store.put(str(source), "x", lambda: next(asked, True))
    assert keys() == []


def test_a_service_that_does_not_answer_is_not_the_task_s_fault(store, tmp_path, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    other = open_files("s3://harbour/other/", str(tmp_path), "store-1")
    (tmp_path / "x").write_bytes(b"x")
    with pytest.raises(TaskFailed) as found:
        other.put(str(tmp_path / "x"), "x", never)
    assert found.value.platform
    assert found.value.kind == "files_unavailable"


def test_what_no_attempt_names_is_swept_when_it_is_old(store, tmp_path):
    files = []
    for text in ("one", "two"):
        (tmp_path / text).write_text(text)
        files.append(store.put(str(tmp_path / text), text, never))
    assert store.sweep({files[0].sha256}, 0, dry_run=False) == (0, 0)
    assert store.sweep({files[0].sha256}, 1 << 61, dry_run=True) == (1, 3)
    assert store.sweep({files[0].sha256}, 1 << 61, dry_run=False) == (1, 3)
    assert [key.endswith(files[0].sha256[2:]) for key in keys()] == [True]


def test_an_old_object_is_put_again(store, tmp_path, monkeypatch):
    """It may be swept at this moment, as long as no attempt names it."""
    (tmp_path / "x").write_bytes(b"bytes")
    put = store.put(str(tmp_path / "x"), "x", never)
    bucket().put_object(Bucket="harbour", Key=keys()[0], Body=b"other")
    monkeypatch.setattr("dagrun.files.remote.UNNAMED_SECONDS", -100)  # what is there is old
    store.put(str(tmp_path / "x"), "x", never)
    store.get(put, str(tmp_path / "y"), never)
    assert (tmp_path / "y").read_bytes() == b"bytes"


def test_a_file_that_is_still_written_to_is_told(store, tmp_path, monkeypatch):
    def hashed_and_changed(path: str, stopped: Stopped) -> str:
        digest = hashed(path, stopped)
        with open(path, "ab") as file:
            file.write(b"more")
        return digest

    monkeypatch.setattr("dagrun.files.remote.hashed", hashed_and_changed)
    (tmp_path / "x").write_bytes(b"bytes")
    with pytest.raises(TaskFailed, match="written to while") as found:
        store.put(str(tmp_path / "x"), "x", never)
    assert not found.value.platform
    assert keys() == []


def test_tasks_hand_files_on_by_way_of_s3(endpoint: str, tmp_path):
    site = Site(tmp_path)
    try:
        folder = site.place / "home" / ".config" / "dagrun"
        folder.mkdir(parents=True)
        (folder / "config.toml").write_text('[files]\nstore = "s3://harbour/run"\n')
        site.more_environment = {**KEYS, "AWS_ENDPOINT_URL": endpoint}
        site.write({"w.dig": "+a: {sh>: echo made >x, _outputs: [x]}\n+b: {sh>: cat in/x, _inputs: {+a: in}}\n"})
        assert "made\n" in site.call("run", "w.dig")
        assert len(keys()) == 1
    finally:
        site.close()


@pytest.mark.parametrize("ends", ["_timeout: 1s", ""])
def test_a_service_that_keeps_silent_is_not_waited_for(tmp_path, ends: str):
    """It takes the connection, and never answers: the time limit holds, and so does a kill."""
    site = Site(tmp_path)
    try:
        with socket.create_server(("127.0.0.1", 0)) as server:
            folder = site.place / "home" / ".config" / "dagrun"
            folder.mkdir(parents=True)
            (folder / "config.toml").write_text('[files]\nstore = "s3://harbour/run"\n')
            site.more_environment = {**KEYS, "AWS_ENDPOINT_URL": f"http://127.0.0.1:{server.getsockname()[1]}"}
            site.write({"wf.dig": f"+a:\n  sh>: echo made >x\n  _outputs: [x]\n  {ends}\n"})
            process = site.run()
            if not ends:
                connection, _ = server.accept()
                process.terminate()
            site.end(process, 1 if ends else 6)
            if not ends:
                connection.close()
    finally:
        site.close()


def test_a_disk_that_is_full_half_way_is_told(store, tmp_path):
    small = tmp_path / "small"
    small.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=512k", "none", str(small)], check=False).returncode:
        give_up("a small file system can't be mounted")
    try:
        (tmp_path / "x").write_bytes(b"b" * 900_000)
        put = store.put(str(tmp_path / "x"), "x", never)
        with pytest.raises(TaskFailed) as found:
            store.get(put, str(small / "y"), never)
        assert found.value.platform
        assert list(small.iterdir()) == []
    finally:
        subprocess.run(["umount", str(small)], check=True)
