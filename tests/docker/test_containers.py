"""Tasks in containers of a real engine: what they see, what they leave, how they end."""

from __future__ import annotations

import os
import re
import subprocess

import pytest

from tests import containers
from tests.docker.yard import Yard
from tests.faults.project import LIMIT_SECONDS

TWO = """
timezone: UTC
+inside:
  docker: {image: busybox}
  sh>: grep ^ID= /etc/os-release; pwd; cat data.txt
+outside:
  sh>: grep ^ID= /etc/os-release
"""


def test_the_image_makes_the_difference(yard: Yard):
    printed = yard.ran(TWO, files={"data.txt": "content\n"})
    assert "ID=busybox\n" in printed
    assert "content\n" in printed
    assert printed.count("ID=busybox") == 1
    assert yard.is_clean()


def test_the_contract_of_files_holds(yard: Yard):
    yard.ran(
        """
+a:
  _docker: busybox
  sh>: grep -o '"size".*3' $DAGRUN_IN && echo "{\\"rows\\":$size}" >$DAGRUN_OUT && touch $DAGRUN_TMP/x
  size: 3
+b:
  echo>: rows ${rows}
"""
    )
    assert yard.rows()["+w+a"]["stored"] == {"rows": 3}


def test_a_group_hands_its_image_on_to_generated_tasks_too(yard: Yard):
    printed = yard.ran(
        """
_docker: busybox
+loop:
  loop>: 2
  _do:
    +in: {sh>: grep ^ID= /etc/os-release}
+out:
  +other: {sh>: "grep ^ID= /etc/os-release || true", _docker: {image: python}}
"""
    )
    assert printed.count("ID=busybox") == 3  # `python` is busybox with an interpreter


def test_exported_options_of_digdag_work(yard: Yard):
    printed = yard.ran(
        """
_export:
  docker: {image: busybox, run_options: [--hostname, harbour, -e, FROM_OPTIONS=yes]}
+a: {sh>: 'echo $(hostname) $FROM_OPTIONS'}
"""
    )
    assert "harbour yes\n" in printed


def test_python_runs_in_the_image(yard: Yard):
    printed = yard.ran(
        """
_docker: python
+a: {py>: tasks.count, n: 4}
+b: {sh>: "echo total ${total}"}
""",
        files={
            "tasks.py": "import digdag, os\n"
            "def count(n):\n"
            "    digdag.env.store({'total': n * 2})\n"
            "    print(open('/etc/os-release').read().split()[1])\n"
        },
    )
    assert "ID=busybox\n" in printed
    assert "total 8\n" in printed


def test_files_of_a_shared_workspace_go_from_container_to_process_and_back(yard: Yard):
    printed = yard.ran(
        """
+g:
  _workspace: shared
  +a: {sh>: "echo one >f", _docker: busybox}
  +b: {sh>: "cat f; echo two >>f"}
  +c: {sh>: "cat f", _docker: busybox}
"""
    )
    assert [printed.count("one\n"), printed.count("two\n")] == [2, 1]


@pytest.mark.parametrize(("script", "code"), [("exit 3", 3), ("kill -9 $$$$", 137), ("kill -TERM $$$$; sleep 5", 143)])
def test_how_it_ends_is_told(yard: Yard, script: str, code: int):
    yard.ran(f"+a: {{sh>: '{script}', _docker: busybox}}", code=1)
    error = yard.error("+w+a")
    assert error["kind"] == "command_failed"
    assert f"code {code}" in error["message"]
    assert yard.is_clean()


def test_want_of_memory_is_told_apart(yard: Yard):
    hungry = "head -c 100m /dev/zero | tail | wc -c"  # twice: the engine may miss what happens right before the end
    yard.ran(f"+a: {{sh>: 'set -o pipefail; {hungry}; {hungry}', _docker: {{image: busybox, mem: 20m}}}}", code=1)
    error = yard.error("+w+a")
    assert error["kind"] == "oom"
    assert "mem" in error["message"]
    assert "failed (oom)" in yard.call("tasks", "last")


def test_limits_reach_the_container(yard: Yard):
    printed = yard.ran(
        """
+a:
  _docker: {image: busybox, cpu: 0.5, pids: 77, mem: 64m, network: none, user: somebody}
  sh>: cat /sys/fs/cgroup/pids/pids.max /sys/fs/cgroup/pids.max 2>/dev/null; id -u; ls /sys/class/net; touch mine $DAGRUN_TMP/x
"""
    )
    assert "77\n" in printed
    assert "4321\n" in printed
    assert "lo\n" in printed
    assert "eth0" not in printed


def test_no_value_stands_in_an_argument(yard: Yard):
    """Whoever lists processes, or looks at the container, must not read parameters and secrets."""
    arguments = yard.place / "arguments"
    client = yard.place / "client"
    client.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" >>{arguments}\nexec docker "$@"\n')
    client.chmod(0o755)
    yard.call("secrets", "--local", "--set", "token=s3cr3t-value", code=0)
    printed = yard.ran(
        f"""
+a:
  docker: {{image: busybox, docker: {client}}}
  _env: {{TOKEN: "${{secret:token}}", LINES: "one\\ntwo"}}
  sh>: echo "$LINES"; echo "$word"; printf %s "$TOKEN" | wc -c; echo $TOKEN
  word: p4rameter
"""
    )
    assert "one\ntwo\np4rameter\n12\n" in printed
    assert "s3cr3t-value" not in printed
    said = arguments.read_text()
    assert "p4rameter" not in said
    assert "s3cr3t-value" not in said
    assert "--env-file" in said


def test_a_secret_is_masked_in_what_a_container_prints(yard: Yard):
    yard.call("secrets", "--local", "--set", "token=s3cr3t-value", code=0)
    printed = yard.ran('+a: {sh>: "echo is $T", _env: {T: "${secret:token}"}, _docker: busybox}'.replace("'", ""))
    assert "s3cr3t-value" not in printed
    assert "is ***" in printed or "is " in printed


def test_output_streams_while_the_command_runs(yard: Yard):
    yard.tasks("+a:\n  do: begin a; echo now; until [ -e $PLACE/go ]; do sleep 0.02; done; finish")
    process = yard.run()
    yard.told("start", "a")
    logs = yard.state / "logs" / "1"
    yard.until(lambda: any("now" in path.read_text() for path in logs.glob("*+a*")))
    (yard.place / "go").touch()
    yard.end(process, 0)


def test_kill_is_dead_and_removed(yard: Yard):
    yard.tasks("+a:\n  do: begin a; stubborn\n  _kill_grace: 0.2")
    process = yard.run()
    yard.told("hangs", "a")
    assert len(yard.containers()) == 1
    yard.call("kill", "last")
    yard.end(process, 6)
    assert yard.is_free("a")
    assert yard.is_clean()


def test_a_time_limit_ends_the_container(yard: Yard):
    yard.tasks("+a:\n  do: begin a; stubborn\n  _timeout: 2s\n  _kill_grace: 0.2")
    yard.end(yard.run(), 1)
    assert yard.rows()["+wf+a"]["error"]["kind"] == "timed_out"
    assert yard.is_free("a")
    assert yard.is_clean()


def test_a_polite_end_is_heard(yard: Yard):
    """The signal goes to the command, whatever it is: a process with the number 1 would not hear it."""
    yard.tasks('+a:\n  do: begin a; trap "note heard; exit 1" TERM; note ready; while true; do sleep 0.05; done')
    process = yard.run()
    yard.told("ready", "a")
    process.terminate()
    yard.end(process, 6)
    assert yard.notes("heard", "a")


def test_the_container_is_called_after_the_try(yard: Yard):
    yard.tasks("+a:\n  do: begin a; hang")
    process = yard.run()
    yard.told("hangs", "a")
    (name,) = yard.containers()
    assert re.match(r"dagrun-1\.1\.1-[0-9a-f]+\Z", name)
    labels = containers.docker("inspect", "-f", "{{json .Config.Labels}}", name)
    assert '"dagrun.task":"+wf+a"' in labels
    process.terminate()
    yard.end(process, 6)


def test_a_container_that_failed_may_be_kept(yard: Yard):
    printed = yard.ran("+a: {sh>: exit 1, _docker: {image: busybox, keep_on_fail: true}}", code=1)
    (name,) = yard.containers()
    assert f"kept the container of +w+a: {name}" in printed


def test_an_image_of_another_user_can_read_and_write(yard: Yard):
    """Images often name a user of their own; our directories are not theirs."""
    containers.docker("build", "-t", "of-somebody", "-", stdin=b"FROM busybox\nUSER somebody\n")
    printed = yard.ran('+a: {sh>: "id -u; cat w.dig >copy; echo {} >$DAGRUN_OUT", docker: {image: of-somebody}}')
    assert "4321\n" in printed
    assert yard.is_clean()


def test_what_it_prints_is_in_the_log_byte_for_byte(yard: Yard):
    """Engines keep output as text, and throw it away when there is much, unless they are told otherwise."""
    yard.tasks('+a:\n  do: begin a; printf "\\377\\0\\n"; head -c 3m /dev/urandom | tee $PLACE/sent; printf end')
    process = yard.start("run", "wf.dig", stdout=subprocess.DEVNULL)  # which isn't text
    assert process.wait(LIMIT_SECONDS) == 0
    (log,) = (yard.state / "logs" / "1").glob("*+a*")
    assert log.read_bytes() == b"\xff\0\n" + (yard.place / "sent").read_bytes() + b"end"


def test_options_of_the_client_do_not_change_how_it_is_run(yard: Yard):
    """Once, to its end, which is told; a command that reads finds the end of its input."""
    all_options = {
        "a": "--rm",
        "b": "-d",
        "c": "-i",
        "d": "--detach=false",
        "e": "--restart, always",
        "f": "--name, other",
        "g": "--log-driver, json-file",
        "h": "--init=false",
    }
    tasks = [
        f"  +{name}: {{sh>: 'cat; echo once; exit 3', docker: {{image: busybox, run_options: [{options}]}}}}"
        for name, options in all_options.items()
    ]
    yard.ran("\n".join(["+all:", "  _parallel: {slots: 3}", *tasks]), code=1)
    rows = yard.rows()
    for name, options in all_options.items():
        assert "code 3" in rows[f"+w+all+{name}"]["error"]["message"], options
        (log,) = (yard.state / "logs" / "1").glob(f"*+all+{name}*")
        assert log.read_text() == "once\n", options
    assert yard.is_clean()


def test_an_entry_point_gets_the_command(yard: Yard):
    containers.docker(
        "build", "-t", "entered", "-", stdin=b'FROM busybox\nENTRYPOINT ["/bin/sh", "-c", "echo $0 $1"]\n'
    )
    assert "/bin/sh /" in yard.ran("+a: {sh>: 'true', _docker: entered}")
    assert "mine\n" in yard.ran("+a: {sh>: 'echo mine', _docker: {image: entered, run_options: [--entrypoint, '']}}")


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_client_that_somebody_kills_leaves_nothing(yard: Yard, when: str):
    """Before it has made the container, it is a failure of the platform; after that, the container counts."""
    places = yard.place / "programs"
    places.mkdir()
    client = places / "docker"
    real = 'PATH=$(echo $PATH | cut -d: -f2-); docker "$@"'
    client.write_text(
        f"""#!/bin/sh
[ "$1" = run ] && mkdir {places}/first 2>/dev/null || {{ {real}; exit; }}
{f"({real}) >/dev/null" if when == "after" else ""}
kill -9 $$
"""
    )
    client.chmod(0o755)
    yard.more_environment["PATH"] = f"{places}:{os.environ['PATH']}"
    yard.tasks("+a:\n  do: begin a; echo said; finish")
    assert "said\n" in yard.end(yard.run(), 0)
    assert [len(yard.notes("start", "a")), len(yard.notes("end", "a"))] == [1, 1]
    assert yard.rows()["+wf+a"]["tries"] == (1 if when == "after" else 2)
    assert yard.is_clean()


def test_output_that_nobody_can_read_is_told_once(yard: Yard):
    printed = yard.ran("+a: {sh>: 'echo x', docker: {image: busybox, run_options: [--log-driver, none]}}")
    assert printed.count("+w+a: its output can't be read: ") == 1
    assert yard.is_clean()


def test_the_output_of_one_with_a_terminal_comes_as_it_is(yard: Yard):
    """The engine mixes no marks of streams into it."""
    yard.ran("+a: {sh>: '[ -t 1 ] && echo here', docker: {image: busybox, run_options: [--tty]}}")
    (log,) = (yard.state / "logs" / "1").glob("*+a*")
    assert log.read_bytes() == b"here\r\n"
