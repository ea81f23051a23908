from __future__ import annotations

import os
import tempfile
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dagrun.logs.files import Follower, append_text, log_path, open_log, read, tail


def test_the_path_names_attempt_task_and_try():
    assert log_path("/s", 12, "+wf^sub+load-a_1", 2) == "/s/logs/12/+wf^sub+load-a_1~2.log"


def test_unsafe_characters_are_encoded_and_told_apart():
    assert log_path("/s", 1, "+a/b %ü", 1) == "/s/logs/1/+a%2Fb%20%25%C3%BC~1.log"
    assert log_path("/s", 1, "+a/b", 1) != log_path("/s", 1, "+a%2Fb", 1)


@pytest.mark.parametrize("task", ["+" + "x" * 5000, "+" + "ü" * 300, "+wf" + "+group" * 80])
def test_a_long_name_fits_into_a_file_system(task, tmp_path):
    path = log_path(str(tmp_path), 1, task, 1234)
    append_text(path, "x")
    assert read(path) == b"x"
    assert path != log_path(str(tmp_path), 1, task + "y", 1234)
    assert path != log_path(str(tmp_path), 1, task[:100] + "y" + task[101:], 1234)


def test_text_is_appended(tmp_path):
    path = str(tmp_path / "logs" / "1" / "a.log")
    append_text(path, "ü\n")
    os.close(open_log(path))
    append_text(path, "\udcff\n")
    assert read(path) == b"\xc3\xbc\n\xff\n"


def test_a_log_that_is_not_there_is_empty(tmp_path):
    path = str(tmp_path / "none")
    assert (read(path), tail(path), Follower(path).read()) == (b"", "", b"")


@pytest.mark.parametrize(
    ("content", "options", "shown"),
    [
        (b"", {}, ""),
        (b"a\nb\nc", {}, "a\nb\nc"),
        (b"a\nb\nc\n", {"lines": 2}, "b\nc\n"),
        (b"aaaa\nbbbb\ncc\n", {"max_bytes": 9}, "bbbb\ncc\n"[-8:]),
        (b"aaaa\nbbbb\ncc\n", {"max_bytes": 8}, "bbbb\ncc\n"),
        (b"aaaa\nbbbb\ncc\n", {"max_bytes": 7}, "cc\n"),
        (b"a" * 50 + b"\n", {"max_bytes": 10}, "a" * 9 + "\n"),
        ("äöü".encode(), {"max_bytes": 3}, "ü"),
        (b"\xff\n", {}, "\ufffd\n"),
    ],
)
def test_the_tail_shows_the_last_whole_lines(tmp_path, content, options, shown):
    path = tmp_path / "log"
    path.write_bytes(content)
    assert tail(str(path), **options) == shown


def test_a_follower_sees_each_byte_once(tmp_path):
    path = str(tmp_path / "log")
    follower = Follower(path)
    append_text(path, "a")
    assert follower.read() == b"a"
    assert follower.read() == b""
    append_text(path, "b\nc")
    assert follower.read() == b"b\nc"


def test_a_follower_can_wait_for_whole_lines(tmp_path):
    path = str(tmp_path / "log")
    follower = Follower(path)
    append_text(path, "one\ntw")
    assert follower.lines() == b"one\n"
    assert follower.lines() == b""
    append_text(path, "o\nthree")
    assert follower.lines() == b"two\n"
    assert follower.read() == b"three"


def test_a_log_that_was_cut_is_read_again(tmp_path):
    path = tmp_path / "log"
    path.write_bytes(b"long line\n")
    follower = Follower(str(path))
    follower.read()
    path.write_bytes(b"new\n")
    assert follower.lines() == b"new\n"


def test_a_log_that_was_emptied_is_read_from_its_new_beginning(tmp_path):
    path = tmp_path / "log"
    path.write_bytes(b"long line\n")
    follower = Follower(str(path))
    assert follower.lines() == b"long line\n"
    path.write_bytes(b"")
    assert follower.lines() == b""
    path.write_bytes(b"a line that is longer than the first\n")
    assert follower.lines() == b"a line that is longer than the first\n"


def test_a_log_that_was_removed_and_came_again_is_read_again(tmp_path):
    path = tmp_path / "log"
    follower = Follower(str(path))
    path.write_bytes(b"first\n")
    assert follower.read() == b"first\n"
    path.unlink()
    assert follower.lines() == b""
    path.write_bytes(b"new\n")
    assert follower.lines() == b"new\n"


def test_a_text_is_appended_whole_beside_others(tmp_path):
    path = str(tmp_path / "log")
    lines = [f"{number} " + chr(97 + number) * 3000 + "\n" for number in range(8)]
    barrier = threading.Barrier(8)

    def write(line: str) -> None:
        barrier.wait(30)
        for _ in range(20):
            append_text(path, line)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, lines))
    assert Counter(read(path).decode().splitlines(keepends=True)) == dict.fromkeys(lines, 20)


@given(st.lists(st.binary(max_size=12) | st.sampled_from([b"\n", b"a\nb", b"\r\n"]), max_size=12))
def test_lines_and_the_rest_are_the_whole_log(pieces):
    with tempfile.TemporaryDirectory() as directory:
        path = os.path.join(directory, "log")
        follower, seen = Follower(path), []
        for piece in pieces:
            with open(path, "ab") as file:
                file.write(piece)
            seen.append(follower.lines())
        assert all(part.endswith(b"\n") or not part for part in seen)
        assert b"".join(seen) + follower.read() == b"".join(pieces)


@given(st.binary(max_size=60), st.integers(1, 5), st.integers(1, 40))
def test_a_tail_is_an_end_of_the_log_and_no_longer_than_asked(data, lines, max_bytes):
    with tempfile.TemporaryDirectory() as directory:
        path = os.path.join(directory, "log")
        with open(path, "wb") as file:
            file.write(data)
        shown = tail(path, lines, max_bytes)
    ends = {data[at:].decode("utf-8", "replace") for at in range(len(data) + 1)}
    assert shown in ends
    assert len(shown) <= max_bytes and len(shown.encode("utf-8", "replace").splitlines()) <= lines
