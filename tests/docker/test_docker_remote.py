"""An engine that doesn't see our files: they travel as archives, both ways."""

from __future__ import annotations

from tests import containers
from tests.docker.yard import Yard


def ran(yard: Yard, text: str, code: int = 0, **files: str) -> str:
    yard.host = containers.remote()
    return yard.ran(text, files={name.replace("_", "."): content for name, content in files.items()}, code=code)


def test_files_go_there_and_come_back(yard: Yard):
    printed = ran(
        yard,
        """
+g:
  _workspace: shared
  +a: {sh>: 'cat data.txt; echo "{\\"n\\": 1}" >$DAGRUN_OUT; echo made >made.txt; mkdir d; echo x >d/y', _docker: busybox}
  +b: {sh>: "cat made.txt d/y; echo n ${n}"}
""",
        data_txt="content\n",
    )
    for line in ("content\n", "made\n", "x\n", "n 1\n"):
        assert line in printed
    assert "wrote files" not in printed
    assert yard.is_clean()


def test_nothing_is_mounted(yard: Yard):
    printed = ran(yard, "+a: {sh>: grep -c /work/1.1.1 /proc/self/mountinfo || echo none, _docker: busybox}")
    assert "none\n" in printed


def test_python_works_there_too(yard: Yard):
    printed = ran(
        yard,
        "+a: {py>: t.f, _docker: python}\n+b: {echo>: 'n is ${n}'}\n",
        t_py="import digdag\ndef f():\n    digdag.env.store({'n': 5})\n",
    )
    assert "n is 5" in printed


def test_another_user_may_read_and_write(yard: Yard):
    printed = ran(
        yard, "+a: {sh>: 'id -u; cat w.dig >copy; touch $DAGRUN_TMP/x', _docker: {image: busybox, user: somebody}}"
    )
    assert "4321\n" in printed


def test_a_link_out_of_the_workspace_is_not_taken_over(yard: Yard):
    ran(yard, "+a: {sh>: 'ln -s /etc/passwd stolen', _docker: busybox}", code=1)
    error = yard.error("+w+a")
    assert error["kind"] == "outside_project"
    assert "stolen" in error["message"]
    assert yard.is_clean()


def test_files_that_are_not_changed_stay_as_they_were(yard: Yard):
    """What a task left untouched is no news, for the warning about lost files least of all."""
    printed = ran(yard, "+a: {sh>: 'echo new >new.txt', _docker: busybox}", data_txt="content\n")
    assert "+w+a: new.txt" in printed
    assert "data.txt" not in printed


def test_it_can_be_killed(yard: Yard):
    yard.host = containers.remote()
    yard.write({"wf.dig": "+a: {sh>: 'echo begun; sleep 60', _docker: busybox, _kill_grace: 0.1}\n"})
    process = yard.run()
    logs = yard.state / "logs" / "1"
    yard.until(lambda: any("begun" in path.read_text() for path in logs.glob("*+a*")))
    process.terminate()
    yard.end(process, 6)
    assert yard.is_clean()
