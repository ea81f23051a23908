from __future__ import annotations

import os

import pytest

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
