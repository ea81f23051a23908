"""Images: pulled once for all that wait, built once, and what is said when there is none."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import containers
from tests.docker.yard import Yard


@pytest.fixture
def registry(yard: Yard, tmp_path: Path) -> Iterator[str]:
    yield from containers.registry(tmp_path)


@pytest.fixture
def pushed(registry: str) -> Iterator[str]:
    """An image that the registry has, and the engine has not."""
    image = f"{registry}/harbour:1"
    containers.docker("tag", "busybox", image)
    containers.docker("push", image)
    containers.docker("rmi", image)
    yield image
    containers.docker("rmi", "-f", image)


def test_an_image_is_pulled_once_for_all_tasks_that_wait_for_it(yard: Yard, pushed: str):
    printed = yard.ran(
        f"""
_docker: {pushed}
_parallel: true
+a: {{sh>: grep ^ID= /etc/os-release}}
+b: {{sh>: grep ^ID= /etc/os-release}}
+c: {{sh>: grep ^ID= /etc/os-release}}
"""
    )
    assert printed.count("ID=busybox\n") == 3
    assert printed.count(f"pulling {pushed}\n") == 1
    assert f"pulled {pushed}: " in printed
    assert "pulling" not in yard.ran(f"+a: {{sh>: 'true', _docker: {pushed}}}")


@pytest.mark.parametrize("option", ["pull: always", "pull_always: true"])
def test_an_image_may_be_pulled_each_time(yard: Yard, pushed: str, option: str):
    printed = yard.ran(
        f"""
_export: {{docker: {{image: {pushed}, {option}}}}}
+a: {{sh>: 'true'}}
+b: {{sh>: 'true'}}
"""
    )
    assert printed.count(f"pulling {pushed}\n") == 2


def test_an_image_that_nobody_has_is_a_failure_of_the_platform(yard: Yard, registry: str):
    yard.ran(f"+a: {{sh>: 'true', _docker: '{registry}/nothing:1', _retry: {{limit: 0, platform_limit: 1}}}}", code=1)
    error = yard.error("+w+a")
    assert error["kind"] == "image_pull_failed"
    assert f"{registry}/nothing:1 can't be pulled" in error["message"]
    assert "manifest unknown" in error["message"] or "not found" in error["message"]
    assert yard.rows()["+w+a"]["tries"] == 2
    assert yard.is_clean()


def test_a_registry_that_does_not_answer_is_named(yard: Yard):
    address = f"127.0.0.1:{containers.free_port()}"
    yard.ran(f"+a: {{sh>: 'true', _docker: '{address}/x:1', _retry: {{limit: 0, platform_limit: 0}}}}", code=1)
    error = yard.error("+w+a")
    assert error["kind"] == "image_pull_failed"
    assert "connection refused" in error["message"]


def test_pull_never_names_the_remedy(yard: Yard):
    yard.ran("+a: {sh>: 'true', _docker: {image: nothing-of-this-name, pull: never}}", code=1)
    assert "docker pull nothing-of-this-name" in yard.error("+w+a")["message"]
    assert yard.error("+w+a")["kind"] == "image_missing"


def test_a_kill_ends_the_waiting_for_an_image(yard: Yard):
    """A registry that accepts and never answers."""
    import socket

    with socket.create_server(("127.0.0.1", 0)) as server:
        image = f"127.0.0.1:{server.getsockname()[1]}/slow:1"
        yard.write({"wf.dig": f"+a: {{sh>: 'true', _docker: '{image}'}}\n"})
        process = yard.run()
        connection, _ = server.accept()
        process.terminate()
        yard.end(process, 6)
        connection.close()
    assert yard.is_clean()


BUILD = """
_export:
  docker:
    image: busybox
    build: ["echo one >/etc/one", "echo {word} >/etc/two\\nrm -f /etc/nothing"]
_parallel: true
+a: {{sh>: cat /etc/one /etc/two}}
+b: {{sh>: cat /etc/one /etc/two}}
"""


def test_an_image_is_built_once_for_the_same_list(yard: Yard):
    word = yard.place.name
    printed = yard.ran(BUILD.format(word=word))
    assert printed.count(f"{word}\n") == 2
    assert printed.count("Successfully built") == 1
    assert "Successfully built" not in yard.ran(BUILD.format(word=word))
    assert "Successfully built" in yard.ran(BUILD.format(word=f"{word}-2"))
    assert yard.is_clean()


def test_a_build_that_fails_fails_the_task(yard: Yard):
    printed = yard.ran('+a: {sh>: "true", docker: {image: busybox, build: [echo before; exit 9]}}', code=1)
    assert "before\n" in printed
    assert yard.error("+w+a")["kind"] == "build_failed"
    assert yard.is_clean()
