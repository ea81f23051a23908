"""Files with odd names, links, and places where a task's files are not to be looked for; by the real command line."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest

from dagrun.engine.rows import decode
from dagrun.errors import TaskFailed
from dagrun.files.found import area, found_files
from tests.daemon.site import Site


def ran(site: Site, text: str, *words: str, code: int = 0) -> str:
    site.write({"w.dig": text})
    return site.call("run", "w.dig", "--rerun", *words, code=code)


def error(site: Site, task: str) -> dict[str, str]:
    found: dict[str, str] = site.rows()[task]["error"]
    return found


def handed_on(site: Site, task: str) -> list[str]:
    with site.store.reading() as tx:
        found = [row.outputs for row in tx.load_tasks(1) if row.name == task]
    return [one[0] for one in decode(found[0])]


NAMES = ["a b", "-rf", "new\nline", "ünï 日本", "it's", 'a "quote"', "a[1]", "a*b", "a&b;c"]


def test_names_may_hold_anything(site: Site):
    wanted = site.place / "names"
    wanted.mkdir()
    for name in NAMES:
        (wanted / name).write_text(name)
    ran(
        site,
        """
+make: {sh>: 'cp -r "$PLACE/names" d', _outputs: [d/]}
+use: {sh>: 'diff -r "$PLACE/names" in/d', _inputs: {+make: in}}
""",
    )
    assert sorted(handed_on(site, "+w+make")) == sorted(f"d/{name}" for name in NAMES)


@pytest.mark.parametrize("name", ["a[1].csv", "a*b", "-x"])
def test_a_file_may_be_named_exactly_where_it_looks_like_a_pattern(site: Site, name: str):
    ran(site, f"+make: {{sh>: \"echo >'./{name}'; echo >a1.csv; echo >aab\", _outputs: ['{name}']}}")
    assert handed_on(site, "+w+make") == [name]


def test_a_name_that_is_no_text_is_told(site: Site):
    """The store of attempts takes text alone."""
    ran(site, r"""+make: {sh>: "echo >$(printf 'a\\377')", _outputs: ["*"]}""", code=1)
    assert "'a\\udcff'" in error(site, "+w+make")["message"]
    assert "UTF-8" in error(site, "+w+make")["message"]


def test_a_link_to_a_name_that_is_no_text_is_told(site: Site):
    ran(site, r"""+make: {sh>: "ln -s /$(printf 'a\\377') x", _outputs: [x]}""", code=1)
    assert error(site, "+w+make")["kind"] == "outside_project"


def test_two_ways_of_writing_a_path_are_one_file(site: Site):
    printed = ran(
        site,
        """
+make: {sh>: "mkdir d; echo made >a; echo >d/b", _outputs: [./a, a, d/../a, "*", d, d/, "**"]}
+use: {sh>: 'cat ${+make.file("./a")}'}
""",
    )
    assert sorted(handed_on(site, "+w+make")) == ["a", "d/b", "w.dig"]
    assert "made\n" in printed


def test_a_pattern_that_is_none_is_told(site: Site):
    ran(site, "+make: {sh>: 'true', _outputs: ['a**b']}", code=1)
    assert "a**b" in error(site, "+w+make")["message"]


@pytest.mark.parametrize("pattern", ["d/", "**/*.txt", "d/**"])
def test_links_in_circles_end(site: Site, pattern: str):
    """Two of them: who follows both, ever deeper, finds 2^40 files."""
    printed = ran(
        site,
        f"""
+make: {{sh>: "mkdir d; echo >d/x.txt; ln -s . d/one; ln -s . d/two", _outputs: ["{pattern}"], _timeout: 20s}}
""",
        code=0 if pattern == "**/*.txt" else 1,
    )
    if pattern == "**/*.txt":
        assert handed_on(site, "+w+make") == ["d/x.txt"]
    else:
        assert "d/one is a link to a directory around it" in printed


def test_a_link_to_another_directory_of_the_workspace_is_followed(site: Site):
    ran(site, "+make: {sh>: 'mkdir -p d day-1; echo >day-1/x; ln -s ../day-1 d/last', _outputs: [d/]}")
    assert handed_on(site, "+w+make") == ["d/last/x"]


def test_a_link_to_all_the_machine_is_refused_at_once(site: Site):
    ran(site, "+make: {sh>: 'ln -s / d', _outputs: [d/], _timeout: 20s}", code=1)
    assert error(site, "+w+make")["kind"] == "outside_project"


def test_the_state_is_nobody_s_output(site: Site):
    """In the project directory, which holds it."""
    ran(site, "+make: {sh>: 'echo >x', _outputs: ['*', '**/*.db', .]}", "--in-place", code=1)
    assert "**/*.db" in error(site, "+w+make")["message"]
    printed = ran(
        site,
        "+make: {sh>: 'echo >x', _outputs: ['*', .]}\n+use: {sh>: 'find in', _inputs: {+make: in}}",
        "--in-place",
    )
    assert "in/x\n" in printed
    assert ".dagrun" not in printed


def test_a_directory_that_can_t_be_read_is_told():
    """Root could read it."""
    with tempfile.TemporaryDirectory() as top:
        Path(top, "d", "e").mkdir(parents=True)
        Path(top, "d", "e").chmod(0)
        Path(top).chmod(0o755)
        before = os.geteuid()
        os.seteuid(before or 65534)
        try:
            with pytest.raises(TaskFailed, match="d/e can't be read: Permission denied"):
                found_files(area(top, top, "/nowhere"), ["d/"], lambda: False)
        finally:
            os.seteuid(before)


def test_a_file_of_a_task_with_an_odd_name_can_stand_in_a_command(site: Site):
    """The tasks of for_each> have names with & and =, which a shell takes for something else."""
    printed = ran(
        site,
        """
+all:
  for_each>: {city: [kobe, nara], year: [1, 2]}
  _do: {+one: {sh>: "echo ${city} ${year} >${city}${year}", _outputs: ["${city}${year}"]}}
+use: {sh>: 'cat ${+all.file("nara2")}'}
""",
    )
    assert "nara 2\n" in printed


def test_two_tasks_that_hand_on_the_same_path_into_one_directory_are_told(site: Site):
    ran(
        site,
        """
+a: {sh>: "echo a >x", _outputs: [x]}
+b: {sh>: "echo b >x", _outputs: [x]}
+use: {sh>: "cat in/x", _inputs: {+a: in, +b: in/}}
""",
        code=1,
    )
    assert "both +w+a and +w+b hand on in/x" in error(site, "+w+use")["message"]


def test_tasks_beside_each_other_may_ask_for_the_same_files_in_the_same_place(site: Site):
    use = '{sh>: "cat in/* | wc -l", _inputs: {+make: in}}'
    ran(
        site,
        f"""
+make: {{sh>: "seq 100 | split -l 1", _outputs: ["x*"]}}
+g: {{_parallel: true, +b: {use}, +c: {use}, +d: {use}}}
""",
        "--in-place",
    )
    assert [site.rows()[f"+w+g{name}"]["tries"] for name in ("+b", "+c", "+d")] == [1, 1, 1]


def test_who_can_t_get_a_file_keeps_the_one_that_is_there(site: Site):
    """In the project directory, where it may be the only one."""
    ran(site, "+a: {sh>: 'echo made >x', _outputs: [x]}\n+b: {sh>: 'false', _inputs: {+a: .}}", "--in-place", code=1)
    for path in (site.state / "files").rglob("*"):
        if path.is_file():
            path.unlink()
    site.call("retry", "last", code=1)
    assert Path(site.directory, "x").read_text() == "made\n"


def test_files_for_an_operator_without_a_command_are_told(site: Site):
    """Tasks that it makes don't get them."""
    ran(
        site,
        "+a: {sh>: 'echo >x', _outputs: [x]}\n+b: {loop>: 1, _inputs: {+a: in}, _do: {+c: {sh>: 'cat in/x'}}}",
        code=1,
    )
    assert "can't have _inputs" in error(site, "+w+b")["message"]


def test_many_files_are_handed_on(site: Site):
    printed = ran(
        site,
        """
+make: {sh>: "mkdir d; cd d; seq 2000 | split -l 1 -a 4 -d", _outputs: [d/]}
+use: {sh>: "cat in/d/* | wc -l", _inputs: {+make: in}}
""",
    )
    assert "2000\n" in printed
