"""What can be wrong around containers: each a clear error of the task, and nothing left."""

from __future__ import annotations

import pytest

from dagrun.errors import TaskFailed
from dagrun.executors.docker.options import environment, read
from tests import containers
from tests.docker.yard import Yard

ONCE = "_retry: {limit: 0, platform_limit: 0}"


def test_no_engine_is_a_failure_of_the_platform(yard: Yard):
    yard.host = f"unix://{yard.place}/nobody.sock"
    yard.ran("+a: {sh>: 'true', _docker: busybox, _retry: {limit: 0, platform_limit: 1}}", code=1)
    error = yard.error("+w+a")
    assert error["kind"] == "engine_unreachable"
    assert "nobody.sock" in error["message"]
    assert "DOCKER_HOST" in error["message"]
    assert yard.rows()["+w+a"]["tries"] == 2
    yard.host = containers.engine()
    assert yard.is_clean()


def test_an_image_without_a_shell_is_told(yard: Yard):
    with containers.Image() as image:
        image.file("nothing", b"here")
    containers.docker("import", "-", "empty-image", stdin=image.content)
    yard.ran("+a: {sh>: 'true', _docker: empty-image}", code=1)
    message = yard.error("+w+a")["message"]
    assert "/bin/sh" in message
    assert "empty-image" in message
    assert yard.is_clean()


def test_a_bad_option_is_named(yard: Yard):
    parts = {
        "{image: busybox, pull: sometimes}": "missing, always, never",
        "{image: busybox, run_options: --rm}": "run_options",
        "{image: busybox, env: {'A B': 1}}": "A B",
        "{image: busybox, run_options: [--no-such-flag]}": "--no-such-flag",
        "{image: 'Not An Image'}": "Not An Image",
        "{image: busybox, volumes: ['/a:/b:/c:/d']}": "/a:/b:/c:/d",
        "{image: busybox, mem: much}": "much",
        "{image: busybox, docker: /no/such/client}": "/no/such/client",
    }
    tasks = [f"  +t{n}: {{sh>: 'true', _docker: {options}, {ONCE}}}" for n, options in enumerate(parts)]
    yard.ran("\n".join(["+all:", "  _parallel: {slots: 3}", *tasks]), code=1)
    rows = yard.rows()
    for number, part in enumerate(parts.values()):
        assert part in rows[f"+w+all+t{number}"]["error"]["message"]
    assert yard.is_clean()


def test_no_options_are_no_container(yard: Yard):
    yard.ran("+a: {sh>: 'true', _docker: {}}")


def test_a_value_that_can_not_travel_is_refused():
    with pytest.raises(TaskFailed, match="PATH can't be handed"):
        environment({"PATH": "a\nb"})
    kept = environment({"A": "1", "B": "x\ny", "C": "y" * 70_000, "PATH": "/bin"})
    assert kept.lines == "A=1\nPATH=/bin\n"
    assert sorted(kept.by_name) == ["B", "C"]


def test_lines_of_build_entries_are_steps_of_their_own():
    assert read({"image": "a", "build": ["one\n\ntwo", "three"]}).build == ["one", "two", "three"]
