"""The live tree, in a real pseudo terminal."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import termios

import pytest

WORKFLOW = """
+a:
  sh>: echo line of a; echo begun > $OUTSIDE/pipe; cat $OUTSIDE/hold
+b:
  sh>: echo line of b; exit 1
"""


@pytest.fixture
def terminal(project):
    """Runs in a terminal of 100 columns; what it has shown so far is in `shown`."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 100, 0, 0))

    class Terminal:
        shown = b""

        def start(self, *arguments, **environment):
            project.environment |= {"TERM": "xterm-256color", **environment}
            self.process = project.start(*arguments, stdin=slave, stdout=slave, stderr=slave)

        def until(self, text: bytes) -> None:
            while text not in self.shown:
                self.shown += os.read(master, 65536)

        def end(self) -> int:
            os.close(slave)
            try:
                while data := os.read(master, 65536):
                    self.shown += data
            except OSError:  # nobody has it open any more
                pass
            return self.process.wait(30)

        @property
        def text(self) -> str:
            return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", self.shown.decode())

    yield Terminal()
    os.close(master)


@pytest.fixture
def held(project):
    project.write("w.dig", WORKFLOW)
    for name in ("pipe", "hold"):
        os.mkfifo(project.outside / name)
    return project


def test_it_shows_what_is_at_work_with_its_last_line_and_leaves_the_lines_of_the_tasks(held, terminal):
    terminal.start("run", "w.dig")
    (held.outside / "pipe").read_text()
    terminal.until(b"line of a\x1b")  # behind the running task
    terminal.until(b"0 of 3 tasks done")
    (held.outside / "hold").write_text("")
    assert terminal.end() == 1
    assert re.search(r"● \+w\+a  running \d+s  line of a", terminal.text)
    assert "+w+a | line of a\r\n" in terminal.text and "+w+b | line of b\r\n" in terminal.text
    assert terminal.text.rstrip().splitlines()[-1] == "to go on from there: dagrun retry 1"
    assert "  +w+b (w.dig:4): Command failed with code 1 (runtime)\r\n    | line of b\r\n" in terminal.text


def test_a_terminal_that_can_do_nothing_gets_the_same_words(held, terminal):
    terminal.start("run", "w.dig", TERM="dumb")
    (held.outside / "pipe").read_text()
    (held.outside / "hold").write_text("")
    assert terminal.end() == 1
    assert b"\x1b" not in terminal.shown
    assert "+w+b | line of b" in terminal.text and "dagrun retry 1" in terminal.text


def test_output_to_a_file_stays_raw_while_the_tree_is_in_the_terminal(held, terminal):
    with open(held.outside / "out", "w") as out:
        held.environment |= {"TERM": "xterm"}
        process = held.start("run", "w.dig", stdin=subprocess.DEVNULL, stdout=out, stderr=out)
        (held.outside / "pipe").read_text()
        (held.outside / "hold").write_text("")
        assert process.wait(30) == 1
    assert "\nline of b\n" in (held.outside / "out").read_text()
