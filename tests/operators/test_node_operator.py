"""node>: what the runner calls and how, with a real Node."""

from __future__ import annotations

import pytest

from dagrun.plugins.testing import context
from dagrun_operators.node import Node
from tests.daemon.site import Site
from tests.missing import need

MODULE = """
exports.count = async ({ n, missing = 'none' }) => { await null; return { total: n * 2, missing }; };
exports.nothing = () => { dagrun.store({ a: 1 }); };
exports.fails = () => { throw new RangeError('too far'); };
exports.many = () => { dagrun.addSubtask({ 'echo>': 'sub ${total}' }); };
exports.bad = () => 5;
exports.nan = () => ({ x: NaN });
exports.exits = ({ code }) => { dagrun.store({ total: 7 }); process.exit(code); };
exports.waits = () => new Promise(() => {});
exports.late = () => { setTimeout(() => { throw new RangeError('too late'); }, 1); };
exports.odd = () => { throw Object.create(null); };
"""


@pytest.fixture
def site(tmp_path):
    need("node")
    made = Site(tmp_path)
    yield made
    made.close()


def ran(site: Site, text: str, code: int = 0, **files: str) -> str:
    site.write({"lib.js": MODULE, "w.dig": text, **{name.replace("_", "."): text for name, text in files.items()}})
    return site.call("run", "w.dig", "--rerun", code=code)


def test_a_function_gets_the_variables_and_what_it_returns_is_stored(site: Site):
    printed = ran(site, "+a: {node>: lib.js:count, n: 4}\n+b: {echo>: 'total ${total} ${missing}'}\n")
    assert "total 8 none\n" in printed
    assert "total 8 none\n" in ran(site, "+a: {node>: lib.count, n: 4}\n+b: {echo>: 'total ${total} ${missing}'}\n")


def test_who_ends_the_process_with_0_is_done(site: Site):
    printed = ran(site, "+a: {node>: lib.js:exits, code: 0}\n+b: {echo>: 'total ${total}'}\n")
    assert "total 7\n" in printed
    assert "alone\n" in ran(site, "+a: {node>: x.js}\n", x_js="console.log('alone'); process.exit(0)\n")


@pytest.mark.parametrize(
    ("call", "told"),
    [
        ("exits, code: 3", "failed with code 3: process.exit(3)"),
        ("waits", "waits for something that nothing can bring about any more"),
        ("late", "failed with code 1: too late (RangeError)"),
    ],
)
def test_how_else_the_process_ends_is_told(site: Site, call: str, told: str):
    assert told in ran(site, f"+a: {{node>: lib.js:{call}}}\n", code=1)


def test_a_file_may_have_an_odd_name(site: Site):
    site.write({"a b#c.js": MODULE})
    assert "total 8" in ran(site, "+a: {node>: 'a b#c.js:count', n: 4}\n+b: {echo>: 'total ${total}'}\n")


def test_modules_of_both_kinds_work(site: Site):
    printed = ran(
        site, "+a: {node>: m.mjs:f}\n+b: {echo>: 'x ${x}'}\n", m_mjs="export function f() { return {x: 3}; }\n"
    )
    assert "x 3\n" in printed


def test_the_global_stores_and_generates(site: Site):
    printed = ran(
        site,
        "+a: {node>: lib.js:nothing}\n+t: {node>: lib.js:count, n: 2}\n+b: {node>: lib.js:many}\n+c: {echo>: 'a ${a}'}\n",
    )
    assert "sub 4\n" in printed
    assert "a 1\n" in printed


def test_a_file_alone_has_the_contract(site: Site):
    script = (
        "const fs = require('fs');\nconst {n} = JSON.parse(fs.readFileSync(process.env.DAGRUN_IN));\n"
        "fs.writeFileSync(process.env.DAGRUN_OUT, JSON.stringify({twice: n * 2}));\n"
    )
    assert "is 6\n" in ran(site, "+a: {node>: s.js, n: 3}\n+b: {echo>: 'is ${twice}'}\n", s_js=script)


def test_a_file_that_another_task_made_is_called(site: Site):
    text = "+a: {sh>: 'mv lib.js made.js'}\n+b: {node>: made.js:count, n: 1}\n+c: {echo>: 'total ${total}'}\n"
    assert "total 2\n" in ran(site, f"_workspace: shared\n{text}")


@pytest.mark.parametrize(
    ("called", "words"),
    [
        ("lib.js:fails", "too far (RangeError)"),
        ("lib.js:cuont", "no function cuont is exported; there are: count,"),
        ("lib.js:bad", "takes a map"),
        ("lib.js:nan", "NaN is not a JSON value"),
        ("lib.js:odd", "Object: null prototype"),
        ("nowhere.js:f", "File not found: nowhere.js (in the working directory)"),
        ("nowhere.f", "File not found: nowhere.js, or nowhere.mjs, or nowhere.cjs"),
        ("what is this", "names no file of JavaScript"),
    ],
)
def test_what_goes_wrong_is_told(site: Site, called: str, words: str):
    assert words in ran(site, f"+a: {{node>: '{called}'}}", code=1)


def test_its_file_decides_whether_it_runs_again():
    project = {"jobs/sales.js", "jobs/other.mjs"}
    assert Node().files("jobs/sales.js:count", {}, project) == ["jobs/sales.js"]
    assert Node().files("jobs/other.f", {}, project) == ["jobs/other.mjs"]
    assert Node().files("what is this", {}, project) == []


def test_in_a_container_its_node_runs():
    task = context({"_command": "lib.js:count", "_docker": "img"}, files={"lib.js": MODULE})
    command = Node().run(task)
    assert (command.argv[0], command.image) == ("node", {"image": "img"})
