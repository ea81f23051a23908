"""exec>, docker>, and `_exit_codes`: the same contract in every language."""

from __future__ import annotations

import shutil

import pytest

from dagrun.plugins.testing import context
from dagrun_operators.docker import Docker
from dagrun_operators.exec_ import Exec
from tests.daemon.site import Site
from tests.missing import need


@pytest.fixture
def site(tmp_path):
    made = Site(tmp_path)
    yield made
    made.close()


def ran(site: Site, text: str, *words: str, code: int = 0, **files: str) -> str:
    site.write({"w.dig": text, **{name.replace("_", "."): text for name, text in files.items()}})
    return site.call("run", "w.dig", "--rerun", *words, code=code)


def argv(params):
    return Exec().run(context(params)).argv


def test_no_shell_reads_the_arguments(site: Site):
    printed = ran(site, """+a: {exec>: [printf, "%s|", "a b", "$HOME", "*"]}\n""")
    assert "a b|$HOME|*|" in printed


@pytest.mark.parametrize(
    ("given", "found"),
    [(["a", 1, True], ["a", "1", "true"]), ("a 'b c' d", ["a", "b c", "d"]), ("a", ["a"])],
)
def test_arguments(given, found):
    assert argv({"_command": given}) == found


@pytest.mark.parametrize(
    ("given", "kind"), [([], "bad_type (_command)"), ("a 'b", "bad_option"), ("", "missing (_command)")]
)
def test_what_names_no_program(given, kind, fails):
    with fails(kind):
        argv({"_command": given})


def test_a_secret_never_stands_in_an_argument(fails):
    task = context({"_command": ["curl", "${secret:token}"]}, secrets={"token": "x"})
    with fails("bad_option"):
        Exec().run(task)
    task = context({"_command": "img", "command": "curl ${secret:token}"}, secrets={"token": "x"})
    with fails("bad_option"):
        Docker().run(task)


def test_parameters_are_not_in_the_environment():
    command = Exec().run(context({"_command": ["x"], "word": "y", "_env": {"A": "b"}}))
    assert "word" not in command.environment
    assert command.environment["A"] == "b"


PROGRAMS = {
    "t.sh": 'n=$(grep -o \'"n": [0-9]*\' "$DAGRUN_IN" | grep -o "[0-9]*"); echo "{\\"twice\\": $((n * 2))}" >"$DAGRUN_OUT"\n',
    "t.py": "import json, os\nn = json.load(open(os.environ['DAGRUN_IN']))['n']\n"
    "json.dump({'twice': n * 2}, open(os.environ['DAGRUN_OUT'], 'w'))\n",
    "t.rb": "require 'json'\nn = JSON.parse(File.read(ENV['DAGRUN_IN']))['n']\n"
    "File.write(ENV['DAGRUN_OUT'], JSON.generate({twice: n * 2}))\n",
    "t.js": "const fs = require('fs');\nconst {n} = JSON.parse(fs.readFileSync(process.env.DAGRUN_IN));\n"
    "fs.writeFileSync(process.env.DAGRUN_OUT, JSON.stringify({twice: n * 2}));\n",
}


@pytest.mark.parametrize(("program", "file"), [("sh", "t.sh"), ("python3", "t.py"), ("ruby", "t.rb"), ("node", "t.js")])
def test_the_same_task_in_any_language_stores_the_same(site: Site, program: str, file: str):
    need(program)
    site.write({file: PROGRAMS[file]})
    ran(site, f"+a: {{exec>: [{shutil.which(program)}, {file}], n: 21}}\n")
    assert site.rows()["+w+a"]["stored"] == {"twice": 42}


def test_an_exit_code_may_mean_try_again(site: Site):
    """Without `_retry` it counts as a failure of the platform, which waits a second."""
    printed = ran(
        site,
        "+a:\n  sh>: mkdir $PLACE/first 2>/dev/null && exit 75; echo second\n  _exit_codes: {75: retry}\n",
    )
    assert "second\n" in printed
    assert site.rows()["+w+a"]["tries"] == 2


def test_an_exit_code_may_mean_nothing_to_do(site: Site):
    ran(site, "+a:\n  sh>: exit 77\n  _exit_codes: {77: skip}\n+b: {echo>: on}\n")
    assert "skipped" in site.call("tasks", "last")


def test_an_exit_code_may_mean_never_again(site: Site):
    ran(site, "+a:\n  sh>: exit 65\n  _exit_codes: {65: no_retry}\n  _retry: 3\n", code=1)
    assert site.rows()["+w+a"]["tries"] == 1


def test_retry_keeps_to_the_task_s_own_limit(site: Site):
    ran(site, "+a:\n  sh>: exit 75\n  _exit_codes: {75: retry}\n  _retry: {limit: 1, interval: 0}\n", code=1)
    assert site.rows()["+w+a"]["tries"] == 2


@pytest.mark.parametrize("codes", ["{0: skip}", "{300: skip}", "{7: what}", "{x: skip}", "[7]"])
def test_a_code_that_means_nothing_is_told_before_anything_runs(site: Site, codes: str):
    assert "_exit_codes" in ran(site, f"+a: {{sh>: 'touch $PLACE/ran; exit 7', _exit_codes: {codes}}}", code=1)
    assert not (site.place / "ran").exists()


def test_docker_runs_the_image_s_own_command_or_another():
    run = Docker().run
    assert run(context({"_command": "img"})).argv == []
    assert run(context({"_command": "img", "command": ["a", "b c"]})).argv == ["a", "b c"]
    assert run(context({"_command": "img", "command": "a | b"})).argv == ["/bin/sh", "-c", "a | b"]
    assert run(context({"_command": "img", "mem": "5m", "table": "x"})).image == {"image": "img", "mem": "5m"}
