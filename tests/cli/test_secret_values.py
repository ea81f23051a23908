"""Where the value of a secret gets to, and where it never does."""

from __future__ import annotations

import os
import stat
import subprocess

import pytest

VALUE = "s3cr3t-value-of-the-shop"
NAMED = '  _env: {TOKEN: "${secret:shop.token}"}\n'


@pytest.fixture
def shop(project):
    """A project whose user has set the secret `shop.token`."""
    project.run("secrets", "--local", "--set", "shop.token=-", given=VALUE)
    return project


def holders(project) -> list[str]:
    """The files below the project that hold the value, whatever their kind."""
    found = []
    for directory, _, names in os.walk(project.directory):
        for path in (os.path.join(directory, name) for name in names):
            if stat.S_ISREG(os.lstat(path).st_mode):
                with open(path, "rb") as file:
                    if VALUE.encode() in file.read():
                        found.append(path)
    return found


def test_a_secret_reaches_the_task_that_names_it(shop):
    shop.write("w.dig", f'+a:\n  sh>: printf %s "$TOKEN" > $OUTSIDE/got\n{NAMED}')
    shop.run("run", "w.dig")
    assert (shop.outside / "got").read_text() == VALUE


def test_a_secret_reaches_no_task_that_does_not_name_it(shop):
    shop.write("w.dig", f"+a:\n  sh>: 'true'\n{NAMED}+b:\n  sh>: tr '\\0' '\\n' < /proc/self/environ > $OUTSIDE/env\n")
    shop.run("run", "w.dig")
    environment = (shop.outside / "env").read_text()
    assert "OUTSIDE=" in environment and VALUE not in environment


def test_a_python_task_has_it_in_its_environment_and_its_output_is_masked(shop):
    shop.write("m.py", "import os\ndef call():\n    print('token', os.environ['TOKEN'])\n")
    shop.write("w.dig", f"+a:\n  py>: m.call\n{NAMED}")
    assert shop.run("run", "w.dig").out == "token ***\n"


def test_it_is_masked_on_standard_output(shop):
    shop.write("w.dig", f'+a:\n  sh>: echo "<$TOKEN>"; echo "<$TOKEN>" >&2\n{NAMED}')
    assert shop.run("run", "w.dig").out == "<***>\n<***>\n"


def test_it_is_masked_when_it_is_printed_in_two_pieces(shop):
    os.mkfifo(shop.outside / "hold")
    shop.write("two.sh", 'printf "<%.5s" "$TOKEN"; cat $OUTSIDE/hold; echo "${TOKEN#?????}>"')
    shop.write("w.dig", f"+a:\n  sh>: sh two.sh\n{NAMED}")
    run = shop.start("run", "w.dig", stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    (shop.outside / "hold").write_text("")
    out, _ = run.communicate(timeout=30)
    assert (run.returncode, out) == (0, "<***>\n")


def test_it_is_masked_in_logs(shop):
    shop.write("w.dig", f'+a:\n  sh>: echo "<$TOKEN>"\n{NAMED}')
    shop.run("run", "w.dig")
    assert shop.run("log", "last").out == "<***>\n"
    assert shop.json("log", "last")[0]["text"] == "<***>\n"


def test_it_is_masked_in_what_a_failure_repeats(shop):
    shop.write("w.dig", f'+a:\n  sh>: echo "<$TOKEN> is wrong" >&2; exit 1\n{NAMED}')
    err = shop.run("run", "w.dig", code=1).err
    assert "    | <***> is wrong\n" in err and VALUE not in err


def test_it_is_masked_in_the_message_of_an_error(shop):
    shop.write("m.py", "import os\ndef call():\n    raise ValueError(os.environ['TOKEN'] + ' is wrong')\n")
    shop.write("w.dig", f"+a:\n  py>: m.call\n{NAMED}")
    run = shop.start("run", "w.dig", stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    out, err = run.communicate(timeout=30)  # a Python task's trace is repeated, so `run` of the fixture can't be used
    assert (run.returncode, VALUE in out + err) == (1, False)
    assert "*** is wrong" in str(shop.json("tasks", "last"))
    assert not holders(shop)


def test_no_file_below_the_project_holds_it_after_a_success(shop):
    shop.write("w.dig", f'+a:\n  sh>: echo "<$TOKEN>"\n{NAMED}')
    shop.run("run", "w.dig")
    assert (shop.directory / ".dagrun/state.db").exists() and not holders(shop)


def test_no_file_below_the_project_holds_it_after_a_failure_and_its_retry(shop):
    shop.write("w.dig", f'+a:\n  sh>: echo "<$TOKEN>"; exit 1\n  _keep: always\n{NAMED}')
    shop.run("run", "w.dig", code=1)
    shop.run("retry", "last", code=1)
    assert len(shop.json("attempts")) == 2 and not holders(shop)


def test_no_file_below_the_project_holds_it_while_its_task_is_at_work(shop):
    for name in ("begun", "hold"):
        os.mkfifo(shop.outside / name)
    shop.write("w.dig", f'+a:\n  sh>: echo "<$TOKEN>"; echo > $OUTSIDE/begun; cat $OUTSIDE/hold\n{NAMED}')
    run = shop.start("run", "w.dig", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    (shop.outside / "begun").read_text()
    found = holders(shop)
    (shop.outside / "hold").write_text("")
    assert (run.wait(30), found) == (0, [])


CHAIN = """
pid=$$
while [ "$pid" -gt 1 ]; do
    cat "/proc/$pid/cmdline" >> $OUTSIDE/words
    echo >> $OUTSIDE/words
    if [ "$pid" != $$ ]; then cat "/proc/$pid/environ" >> $OUTSIDE/parents; fi
    pid=$(sed -n 's/^PPid:[[:space:]]*//p' "/proc/$pid/status")
done
"""


def test_neither_the_words_of_a_process_nor_the_environment_of_its_parents_hold_it(shop):
    shop.write("chain.sh", CHAIN)
    shop.write("w.dig", f"+a:\n  sh>: . ./chain.sh\n{NAMED}")
    shop.run("run", "w.dig", anew=True)
    words, parents = ((shop.outside / name).read_bytes() for name in ("words", "parents"))
    assert b"dagrun.cli\0run\0w.dig" in words and b"OUTSIDE=" in parents
    assert VALUE.encode() not in words + parents


def test_it_lies_in_a_file_that_only_its_owner_can_read(shop):
    path = shop.home / ".config/dagrun/secrets/shop.token"
    assert path.read_text() == VALUE
    assert (stat.S_IMODE(path.stat().st_mode), stat.S_IMODE(path.parent.stat().st_mode)) == (0o600, 0o700)


def test_the_list_of_secrets_shows_no_value(shop):
    for options in ((), ("--json",)):
        ended = shop.run("secrets", "--local", *options)
        assert "shop.token" in ended.out and VALUE not in ended.out + ended.err
