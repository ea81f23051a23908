from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from dagrun.executors.spawn import find, spawn


@pytest.fixture
def run(tmp_path):
    """What a program printed, started in `tmp_path`."""

    def start(argv, environment=None, directory=None):
        output = os.open(tmp_path / "output", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        try:
            pid = spawn(argv, environment or {"PATH": os.environ["PATH"]}, str(directory or tmp_path), output)
        finally:
            os.close(output)
        os.waitpid(pid, 0)
        return (tmp_path / "output").read_text()

    return start


def test_it_works_in_its_directory_and_we_stay_in_ours(run, tmp_path):
    before = os.getcwd()
    assert run(["pwd"]).strip() == os.path.realpath(tmp_path)
    assert os.getcwd() == before


def test_we_stay_in_our_directory_also_when_the_start_fails(run, tmp_path):
    before = os.getcwd()
    with pytest.raises(FileNotFoundError, match="no-such"):
        run(["no-such"])
    with pytest.raises(FileNotFoundError, match="nowhere"):
        run(["pwd"], directory=tmp_path / "nowhere")
    assert os.getcwd() == before


def test_the_program_is_found_by_its_own_path(run, tmp_path):
    program = tmp_path / "bin" / "mine"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\necho mine\n")
    program.chmod(0o755)
    assert run(["mine"], {"PATH": f"/nowhere:{program.parent}"}) == "mine\n"


def test_a_path_is_relative_to_the_directory_of_the_process(run, tmp_path):
    (tmp_path / "mine").write_text("#!/bin/sh\necho mine\n")
    (tmp_path / "mine").chmod(0o755)
    assert run(["./mine"]) == "mine\n"


def test_a_file_that_may_not_be_run_is_told_from_one_that_is_not_there(tmp_path):
    (tmp_path / "data").write_text("x")
    with pytest.raises(PermissionError):
        find("data", {"PATH": str(tmp_path)})
    with pytest.raises(FileNotFoundError):
        find("other", {"PATH": str(tmp_path)})


def test_signals_that_python_ignores_are_as_a_program_expects_them(run):
    ignored = int(run(["grep", "SigIgn", "/proc/self/status"]).split()[1], 16)
    assert not ignored & (1 << (signal.SIGPIPE - 1) | 1 << (signal.SIGXFSZ - 1))


def test_it_leads_a_session_of_its_own(run):
    assert (
        run(["sh", "-c", 'read -r pid name state parent group session rest < /proc/$$/stat; echo "$((pid - session))"'])
        == "0\n"
    )


def test_values_that_are_no_unicode_arrive_as_they_are(run):
    value = os.fsdecode(b"\xff\xfe")
    assert os.fsencode(
        run(["sh", "-c", 'printf %s "$ODD" | od -An -tx1'], {"PATH": os.environ["PATH"], "ODD": value})
    ).split() == [b"ff", b"fe"]


def test_what_we_inherited_is_not_handed_on(tmp_path):
    """As a run from cron or CI has descriptors of theirs, which a background process must not keep open."""
    reader, writer = os.pipe()
    script = (
        "import os\nfrom dagrun.executors.spawn import spawn\n"
        "os.waitpid(spawn(['ls', '/proc/self/fd'], dict(os.environ), '/', 1), 0)\n"
    )
    try:
        ended = subprocess.run([sys.executable, "-c", script], pass_fds=[writer], capture_output=True, text=True)
    finally:
        os.close(reader)
        os.close(writer)
    assert ended.stderr == "" and len(ended.stdout.split()) <= 4  # 0, 1, 2 and the one that ls reads


def test_we_stay_where_we_have_gone_since_the_last_start(run, tmp_path, monkeypatch):
    run(["true"])
    (tmp_path / "other").mkdir()
    monkeypatch.chdir(tmp_path / "other")
    run(["true"])
    assert os.getcwd() == os.path.realpath(tmp_path / "other")
