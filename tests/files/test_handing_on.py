"""Files from task to task, by the real command line: declared, asked for, kept, reused, refused."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.daemon.site import Site
from tests.missing import give_up

CHAIN = r"""
timezone: UTC
+extract:
  sh>: mkdir parts; printf 'a,1\n' >report.csv; echo b >parts/1.txt; echo c >parts/2.txt; chmod +x parts/2.txt; echo ran >>$PLACE/ran
  _outputs: [report.csv, "parts/*.txt"]
+use:
  sh>: cat raw/report.csv raw/parts/*; test -x raw/parts/2.txt; cat ${+extract.file("report.csv")}; %s
  _inputs: {+extract: raw/}
"""


def ran(site: Site, text: str, *words: str, code: int = 0, **files: str) -> str:
    site.write({"w.dig": text, **files})
    return site.call("run", "w.dig", "--rerun", *words, code=code)


def error(site: Site, task: str) -> dict[str, str]:
    found: dict[str, str] = site.rows()[task]["error"]
    return found


def chain(last: str) -> str:
    return CHAIN % last


def objects(site: Site) -> list[Path]:
    return [path for path in (site.state / "files").rglob("*") if path.is_file()]


def test_files_go_from_task_to_task(site: Site):
    printed = ran(site, chain("true"))
    for line in ("a,1\n", "b\n", "c\n"):
        assert line in printed
    assert printed.count("a,1\n") == 2
    assert "wrote files" not in printed
    assert len(objects(site)) == 3
    assert site.leftovers() == []


def test_a_retry_takes_the_files_of_reused_tasks(site: Site):
    ran(site, chain("test -e $PLACE/mended"), code=1)
    (site.place / "mended").touch()
    printed = site.call("retry", "last")
    assert printed.count("a,1\n") == 2
    assert (site.place / "ran").read_text() == "ran\n"
    assert site.rows()["+w+extract"]["reused_from"] == 1


def test_who_asks_for_files_waits_for_them(site: Site):
    printed = ran(
        site,
        """
_parallel: true
+use: {sh>: 'cat ${+make.file("x")}'}
+also: {sh>: "cat in/x", _inputs: {+make: in}}
+make: {sh>: "sleep 0.2; echo made >x", _outputs: x}
""",
    )
    assert printed.count("made\n") == 2


def test_a_group_hands_on_what_all_below_it_do_generated_tasks_too(site: Site):
    printed = ran(
        site,
        """
+all:
  for_each>: {city: [kobe, nara]}
  _parallel: true
  _do:
    +one: {sh>: "echo ${city} >${city}.txt", _outputs: ["${city}.txt"]}
+join: {sh>: "cat in/*.txt", _inputs: {+all: in}}
""",
    )
    assert "kobe\n" in printed
    assert "nara\n" in printed


def test_generated_tasks_ask_for_files_of_tasks_outside(site: Site):
    printed = ran(
        site,
        """
+make: {sh>: "echo made >x", _outputs: [x]}
+all:
  loop>: 2
  _do:
    +one: {sh>: 'cat ${+make.file("x")} in/x', _inputs: {+make: in/}}
""",
    )
    assert printed.count("made\n") == 4


def test_a_full_name_is_a_name_of_a_task(site: Site):
    printed = ran(
        site,
        """
+g:
  +make: {sh>: "echo made >x", _outputs: [x]}
+h:
  +use: {sh>: 'cat in/x ${+w+g+make.file("x")} ${+w/g/make.file("x")}', _inputs: {+w+g+make: in}}
""",
    )
    assert printed.count("made\n") == 3


def test_who_generates_tasks_waits_for_the_files_that_they_ask_for(site: Site):
    printed = ran(
        site,
        """
_parallel: true
+all:
  loop>: 2
  _do:
    +one: {sh>: 'cat ${+make.file("x")} in/x', _inputs: {+make: in}}
+g:
  _export: {path: '${+make.file("x")}'}
  +two: {sh>: 'cat $path'}
+make: {sh>: "sleep 0.2; echo made >x", _outputs: x}
""",
    )
    assert printed.count("made\n") == 5


def test_who_has_to_wait_is_told_where_the_file_does_not_tell_it(site: Site):
    (site.directory / "sub").mkdir()
    site.write({"sub/called.dig": "+one: {sh>: 'cat in/x', _inputs: {+make: in}}\n"})
    ran(
        site,
        """
_parallel: true
+make: {sh>: "sleep 0.2; echo made >x", _outputs: x}
+all: {call>: sub/called}
""",
        code=1,
    )
    assert "let +w+all wait for it, with _needs: [+make]" in error(site, "+w+all^sub+one")["message"]


def test_a_check_sees_the_files_of_its_own_task(site: Site):
    printed = ran(
        site,
        """
+make:
  sh>: echo made >x
  _outputs: [x]
  _check:
    +look: {sh>: 'cat ${+make.file("x")}'}
""",
    )
    assert "made\n" in printed


def test_who_asks_for_files_of_a_failed_task_is_told_so(site: Site):
    text = "+make: {sh>: 'echo >x; false', _outputs: [x], _error: {+tell: {sh>: 'true', _inputs: {+make: in}}}}"
    ran(site, text, code=1)
    assert "it is failing, and hands on nothing" in error(site, "+w+make^error+tell")["message"]


def test_who_asks_for_files_of_what_was_left_out_is_told_so(site: Site):
    ran(site, "+make: {sh>: 'false', _outputs: [x]}\n+use: {sh>: 'true', _inputs: {+make: in}}", code=1)
    site.call("retry", "last", "--from", "+use", "--only", code=1)
    assert "left out of this run" in error(site, "+w+use")["message"]


def test_paths_are_of_the_working_directory(site: Site):
    (site.directory / "sub").mkdir()
    printed = ran(
        site,
        """
+make: {sh>: "echo made >x", _workdir: sub, _outputs: [x]}
+use: {sh>: "cat ../sub/in/x", _workdir: sub, _inputs: {+make: in}}
""",
        **{"sub/f": ""},
    )
    assert "made\n" in printed


def test_a_directory_means_all_below_it(site: Site):
    printed = ran(
        site,
        """
+make: {sh>: "mkdir -p d/e; echo 1 >d/.hidden; echo 2 >d/e/f", _outputs: [d/]}
+use: {sh>: "cat d/.hidden d/e/f", _inputs: {+make: .}}
""",
    )
    assert "1\n" in printed
    assert "2\n" in printed


def test_a_file_that_was_not_written_fails_the_task(site: Site):
    ran(site, "+a: {sh>: 'echo x >there', _outputs: [there, missing.csv]}", code=1)
    assert error(site, "+w+a")["kind"] == "output_missing"
    assert "missing.csv" in error(site, "+w+a")["message"]


@pytest.mark.parametrize(
    ("script", "outputs", "kind"),
    [
        ("ln -s /etc/passwd stolen", "stolen", "outside_project"),
        ("ln -s /etc d", "d/passwd", "outside_project"),
        ("ln -s nowhere x", "x", "output_missing"),
        ("mkfifo x", "x", "output_missing"),
        ("mkdir d", "d/", "output_missing"),
    ],
)
def test_what_is_no_file_of_the_workspace_is_refused(site: Site, script: str, outputs: str, kind: str):
    ran(site, f"+a: {{sh>: '{script}', _outputs: ['{outputs}']}}", code=1)
    assert error(site, "+w+a")["kind"] == kind
    assert objects(site) == []


def test_a_link_inside_of_the_workspace_is_followed(site: Site):
    printed = ran(
        site,
        """
+a: {sh>: "echo real >r; ln -s r link", _outputs: [link]}
+b: {sh>: "cat link; test ! -L link", _inputs: {+a: .}}
""",
    )
    assert "real\n" in printed


def test_nothing_is_put_outside_of_the_workspace(site: Site):
    """A task in a shared workspace made a link where the files are to go."""
    outside = site.place / "outside"
    outside.mkdir()
    ran(
        site,
        f"""
+make: {{sh>: "echo x >x", _outputs: [x]}}
+g:
  _workspace: shared
  +link: {{sh>: "ln -s {outside} in"}}
  +use: {{sh>: "true", _inputs: {{+make: in}}}}
""",
        code=1,
    )
    assert error(site, "+w+g+use")["kind"] == "outside_project"
    assert os.listdir(outside) == []


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("+a: {sh>: x, _outputs: [/etc/passwd]}", "leaves the workspace"),
        ("+a: {sh>: x, _outputs: [../x]}", "leaves the workspace"),
        ("+a: {sh>: x, _outputs: {a: 1}}", "list of paths"),
        ("+a: {sh>: x, _inputs: [x]}", "map of tasks"),
        ("+a: {sh>: x, _inputs: {extract: raw}}", "names start with +"),
        ("+a: {sh>: x}\n+b: {sh>: x, _inputs: {+a: ../raw}}", "leaves the workspace"),
        ("+extract: {sh>: x}\n+b: {sh>: x, _inputs: {+extrat: raw}}", "did you mean +extract?"),
        ("+extract: {sh>: x}\n+b: {sh>: 'cat ${+extrat.file(\"x\")}'}", "did you mean +extract?"),
        ("+a: {sh>: x, _inputs: {+b: raw}}\n+b: {sh>: x}", "wait for each other"),
        ("+g: {_outputs: [x], +a: {sh>: x}}", "write it at the tasks"),
    ],
)
def test_what_can_be_seen_in_the_file_is_refused_before_anything_runs(site: Site, text: str, words: str):
    site.write({"w.dig": text})
    printed = site.call("run", "w.dig", code=2)
    assert words in printed
    assert "w.dig:" in printed


@pytest.mark.parametrize(
    ("use", "words"),
    [
        ("sh>: 'cat ${+make.file(\"y\")}'", "its files are: x"),
        ("sh>: 'cat ${+none.file(\"y\")}'", "declare them there with _outputs"),
        ("sh>: 'cat ${+make.file(\"x\") + 1}'", "stands alone in its braces"),
        ("sh>: 'cat ${+make.file(timezone)}'", "stands alone in its braces"),
        ("sh>: 'true', _inputs: {+none: in}", "hands on no files"),
    ],
)
def test_what_only_the_run_shows_fails_the_task(site: Site, use: str, words: str):
    ran(
        site,
        f"+make: {{sh>: 'echo >x', _outputs: [x]}}\n+none: {{sh>: 'true'}}\n+use: {{{use}}}\n",
        code=1,
    )
    assert words in error(site, "+w+use")["message"]


def test_a_task_that_runs_no_command_has_no_files(site: Site):
    ran(site, "+a: {echo>: hello, _outputs: [x]}", code=1)
    assert "can't have _outputs" in error(site, "+w+a")["message"]


def test_a_damaged_file_is_told_with_its_remedy(site: Site):
    ran(site, chain("test -e $PLACE/mended"), code=1)
    for path in objects(site):
        path.chmod(0o644)
        path.write_bytes(b"something else")
    site.call("retry", "last", code=1)
    assert error(site, "+w+use")["kind"] == "file_damaged"
    assert "--from" in error(site, "+w+use")["message"]
    assert site.leftovers() == []


def test_a_file_that_is_gone_is_told_with_its_remedy(site: Site):
    ran(site, chain("test -e $PLACE/mended"), code=1)
    for path in objects(site):
        path.unlink()
    site.call("retry", "last", code=1)
    assert error(site, "+w+use")["kind"] == "file_missing"
    (site.place / "mended").touch()
    site.call("retry", "last", "--from", "+extract")


def test_the_setting_names_another_folder(site: Site):
    (site.place / "home" / ".config" / "dagrun").mkdir(parents=True)
    settings = site.place / "home" / ".config" / "dagrun" / "config.toml"
    settings.write_text(f'[files]\nstore = "file://{site.place}/kept"\n')
    assert "a,1\n" in ran(site, chain("true"))
    assert len([path for path in (site.place / "kept").rglob("*") if path.is_file()]) == 3
    settings.write_text('[files]\nstore = "relative/path"\n')
    ran(site, chain("true"), code=1)
    assert "files.store in the settings" in error(site, "+w+extract")["message"]
    settings.write_text('[files]\nstore = "s3://"\n')
    ran(site, chain("true"), code=1)
    assert "names no bucket; write s3://bucket/prefix" in error(site, "+w+extract")["message"]
    settings.write_text('[files]\nstore = "ftq://nowhere/x"\n')
    ran(site, chain("true"), code=1)
    assert "ftq" in error(site, "+w+extract")["message"]


def test_prune_forgets_files_with_their_attempts(site: Site):
    ran(site, chain("true"))
    ran(site, chain("true").replace("a,1", "a,2"))
    assert len(objects(site)) == 4
    past = 1_700_000_000
    for path in objects(site):
        os.utime(path, (past, past))
    site.call("prune", "--runs", "0d", "--failed", "0d", "--keep-last", "1")
    assert len(objects(site)) == 3
    assert b"a,2\n" in [path.read_bytes() for path in objects(site)]


def test_prune_leaves_what_has_just_been_put(site: Site):
    ran(site, chain("true"))
    ran(site, chain("true").replace("a,1", "a,2"))
    site.call("prune", "--runs", "0d", "--failed", "0d", "--keep-last", "1")
    assert len(objects(site)) == 4


def test_a_kill_ends_a_transfer(site: Site):
    site.tasks("+a:\n  do: begin a; truncate -s 200G big; finish\n  _outputs: [big]\n  _kill_grace: 0.1")
    process = site.run()
    site.told("end", "a")
    site.call("kill", "last")
    site.end(process, 6)
    assert [path for path in objects(site) if path.stat().st_blocks] == []
    assert site.leftovers() == []


def test_a_time_limit_holds_for_a_transfer(site: Site):
    site.tasks("+a:\n  do: begin a; truncate -s 200G big; finish\n  _outputs: [big]\n  _timeout: 1s")
    site.end(site.run(), 1)
    assert error(site, "+wf+a")["kind"] == "timed_out"


def test_a_daemon_that_is_killed_while_it_keeps_files_goes_on(site: Site):
    """The command has ended, and isn't started again; the file is there whole."""
    site.workflow(
        "w",
        "{daily>: 00:00:00}",
        "do: begin a; truncate -s 200M big; finish\n_outputs: [big]",
        "do: begin b; test $(wc -c <in/big) = 209715200; finish\n_inputs: {+t1: in}",
    )
    site.schedule()
    site.call("backfill", "w", "--from", "2026-01-01", "--count", "1")
    site.until(lambda: list((site.state / "files").rglob("new.*")))
    site.die()
    site.schedule()
    (seen,) = site.ended()
    assert seen.attempt.state == "success"
    assert [len(site.notes("start", task)) for task in ("a", "b")] == [1, 1]
    assert [path.stat().st_size for path in objects(site) if not path.name.startswith("new.")] == [209715200]
    site.until(lambda: not site.leftovers())


def test_a_daemon_ends_in_the_midst_of_files(site: Site):
    """It doesn't wait for them, and the next one begins with them again."""
    site.workflow(
        "w",
        "{daily>: 00:00:00}",
        "do: begin a; truncate -s $(cat $PLACE/size) one two three; finish\n_outputs: [one, two, three]",
    )
    (site.place / "size").write_text("200G")
    site.schedule(str(site.directory), "--grace", "0s")
    site.call("backfill", "w", "--from", "2026-01-01", "--count", "1")
    site.until(lambda: list((site.state / "files").rglob("new.*")))
    site.term()
    (directory,) = site.state.glob("work/*/project")
    for name in ("one", "two", "three"):
        os.truncate(directory / name, 5)
    site.schedule()
    (seen,) = site.ended()
    assert seen.attempt.state == "success"
    assert len(site.notes("start", "a")) == 1


def test_a_full_store_is_not_the_task_s_fault(site: Site):
    """A file system of its own, too small for the file."""
    small = site.place / "small"
    small.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", str(small)], check=False).returncode:
        give_up("a small file system can't be mounted")
    try:
        folder = site.place / "home" / ".config" / "dagrun"
        folder.mkdir(parents=True)
        (folder / "config.toml").write_text(f'[files]\nstore = "file://{small}/kept"\n')
        retry = "_retry: {limit: 0, platform_limit: 1}"
        ran(site, f"+a: {{sh>: 'truncate -s 2M x', _outputs: [x], {retry}}}", code=1)
        assert error(site, "+w+a")["kind"] == "files_unavailable"
        assert "the disk is full" in error(site, "+w+a")["message"]
        assert site.rows()["+w+a"]["tries"] == 2
        assert list(small.rglob("new.*")) == []
    finally:
        subprocess.run(["umount", str(small)], check=True)
