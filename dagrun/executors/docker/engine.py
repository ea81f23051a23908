"""The Docker engine, by way of the official SDK. Its errors come out as failures of tasks, or as Unreachable.

The SDK takes a tenth of a second to load: this module is imported with the first container.
"""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from functools import cached_property
from typing import IO, Any, cast

import docker
import requests
import urllib3
from docker.context import ContextAPI
from docker.errors import APIError, DockerException
from docker.errors import NotFound as NoSuchThing
from docker.utils import kwargs_from_env, parse_repository_tag

from dagrun.errors import TaskFailed
from dagrun.light import NamedTuple

_ANSWER_SECONDS = 60
_SILENT_PULL_SECONDS = 600  # a large layer is unpacked without a word
_REMOVAL_CONFLICT = 409  # somebody is removing it already
_CHUNK_BYTES = 1 << 20
_CONNECTIONS = 64  # that are kept open, of one a container


class Unreachable(TaskFailed):
    """No engine answers. Nobody knows what its containers do meanwhile."""

    def __init__(self, where: str, problem: object) -> None:
        closed = "Permission denied" in str(problem)
        super().__init__(
            f"no Docker engine answers at {where}: {problem}\n"
            + (
                "  let dagrun's user into the group that the socket belongs to (usermod -aG docker USER)"
                if closed
                else "  start it (systemctl start docker), or set DOCKER_HOST to where it listens"
            ),
            "engine_unreachable",
            "runtime",
            platform=True,
        )


class Gone(Exception):
    """The engine doesn't know the container."""


class State(NamedTuple):
    """A container's state, as far as anybody asks."""

    status: str  # created, running, paused, restarting, removing, exited, dead
    exit_code: int
    oom: bool
    error: str
    labels: Mapping[str, str]

    @property
    def is_over(self) -> bool:
        return self.status in ("exited", "dead")


class Api(docker.APIClient):
    """The SDK's, which asks only once whether a container has a terminal, not before each reading of its output."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.terminals: dict[str, bool] = {}

    def _check_is_tty(self, container: str) -> bool:
        known = self.terminals.get(container)
        if known is None:
            known = self.terminals[container] = super()._check_is_tty(container)  # type: ignore[misc]
        return known


class Engine:
    """The engine that the client program speaks to, too. Safe to be used by several threads."""

    def __init__(self) -> None:
        self.host, self.settings = place()

    @property
    def is_local(self) -> bool:
        """Whether it sees our files under the same paths, as far as can be told from its address."""
        return self.host.startswith(("unix://", "npipe://"))

    @cached_property
    def api(self) -> Any:
        return self.connected(_ANSWER_SECONDS)

    def connected(self, seconds: int) -> Any:
        """So long at most does an answer, or the next part of it, take. Raises Unreachable."""
        try:
            return Api(
                version="auto",
                timeout=seconds,
                max_pool_size=_CONNECTIONS,
                use_ssh_client=self.host.startswith("ssh://"),
                **self.settings,
            )
        except (DockerException, OSError) as problem:
            raise Unreachable(self.host, problem) from None

    @property
    def takes_connections(self) -> bool:
        """One that is being stopped doesn't, while it answers on those that there are, and ends its containers."""
        with suppress(Unreachable), closing(self.connected(_ANSWER_SECONDS)):
            return True
        return False

    @contextmanager
    def asking(self, api: Any = None) -> Iterator[Any]:
        """Raises Unreachable, Gone; TaskFailed (platform) when the engine answers with an error of its own."""
        try:
            yield api or self.api
        except NoSuchThing as problem:
            raise Gone(str(problem)) from None
        except APIError as problem:
            text = f"the Docker engine refused: {problem.explanation or problem}"
            raise TaskFailed(text, "engine_error", "runtime", platform=problem.is_server_error()) from None
        except (requests.exceptions.RequestException, urllib3.exceptions.HTTPError, OSError) as problem:
            raise Unreachable(self.host, problem) from None

    # -- containers

    def state(self, name: str) -> State:
        """Raises Gone."""
        with self.asking() as api:
            found = api.inspect_container(name)
        state = found["State"]
        return State(
            status=state["Status"],
            exit_code=state["ExitCode"],
            oom=bool(state.get("OOMKilled")),
            error=state.get("Error") or "",
            labels=found["Config"].get("Labels") or {},
        )

    def output(self, name: str, *, follow: bool) -> Iterator[bytes]:
        """Both output streams from the beginning: what there is, or as they come until the container ends. Raises Gone."""
        with self.asking() as api:
            # What the SDK wraps around its stream takes one that breaks off for one that ends.
            yield from api.logs(name, stream=True, follow=follow)._stream

    def wait(self, name: str, seconds: float) -> bool:
        """Until it has ended, at most so long. Raises Gone."""
        with self.asking() as api:
            try:
                api.wait(name, timeout=seconds)
            except (requests.exceptions.Timeout, requests.exceptions.ConnectionError):  # the SDK has both for it
                return False
        return True

    def start(self, name: str) -> None:
        with self.asking() as api:
            api.start(name)

    def kill(self, name: str, number: int) -> None:
        """It gets the signal, if it runs."""
        with suppress(Gone), self.asking() as api:
            try:
                api.kill(name, number)
            except APIError as problem:
                if problem.status_code != _REMOVAL_CONFLICT:  # it doesn't run (any more)
                    raise

    def remove(self, name: str) -> None:
        """It is gone, whatever it did, with its anonymous volumes."""
        with suppress(Gone), self.asking() as api:
            api.terminals.pop(name, None)
            try:
                api.remove_container(name, v=True, force=True)
            except APIError as problem:
                if problem.status_code != _REMOVAL_CONFLICT:
                    raise

    def with_label(self, label: str, text: str) -> list[str]:
        """The ids of the containers that carry it, whether they run or not."""
        with self.asking() as api:
            found = api.containers(all=True, filters={"label": [f"{label}={text}"]})
        return [one["Id"] for one in found]

    def put(self, name: str, directory: str, archive: IO[bytes]) -> None:
        """Unpack a tar file into a directory of the container."""
        with self.asking() as api:
            api.put_archive(name, directory, archive)

    def get(self, name: str, path: str) -> Iterator[bytes]:
        """A tar stream of a directory of the container."""
        with self.asking() as api:
            chunks, _ = api.get_archive(name, path, chunk_size=_CHUNK_BYTES)
            yield from chunks

    # -- images

    def image_user(self, image: str) -> str | None:
        """The user that the image runs as, "" for root; None if the engine doesn't have the image."""
        try:
            with self.asking() as api:
                found = api.inspect_image(image)
        except Gone:
            return None
        return cast(str, (found.get("Config") or {}).get("User") or "")

    def pull(self, image: str) -> Generator[Mapping[str, Any], None, None]:
        """What the engine tells while it pulls. Raises TaskFailed (platform) with the reason.

        On a connection of its own, which knows of every `docker login` until now.
        """
        repository, tag = parse_repository_tag(image)
        try:
            with closing(self.connected(_SILENT_PULL_SECONDS)) as pulling, self.asking(pulling) as api:
                try:
                    for told in api.pull(repository, tag=tag or "latest", stream=True, decode=True):
                        if "error" in told:
                            raise pull_failed(image, told["error"])
                        yield told
                except (requests.exceptions.ReadTimeout, urllib3.exceptions.ReadTimeoutError):
                    silent = f"the engine has told nothing for {_SILENT_PULL_SECONDS} seconds"
                    raise pull_failed(image, silent) from None
        except Gone as problem:
            raise pull_failed(image, problem) from None
        except Unreachable:
            raise
        except TaskFailed as problem:
            if problem.kind == "image_pull_failed":
                raise
            raise pull_failed(image, problem.message.removeprefix("the Docker engine refused: ")) from None

    @cached_property
    def is_rootless(self) -> bool:
        """Whether root inside is our own user outside."""
        with self.asking() as api:
            return any("rootless" in option for option in api.info().get("SecurityOptions") or ())


def place() -> tuple[str, Mapping[str, Any]]:
    """Where the engine listens, by the client's own rules, and what the SDK needs to go there. Raises TaskFailed."""
    context = os.environ.get("DOCKER_CONTEXT") or None
    if context or not os.environ.get("DOCKER_HOST"):
        found = ContextAPI.get_context(context)
        if found is None:
            raise TaskFailed(
                f"Docker has no context {context or 'of the name that is its current one'}\n"
                "  docker context ls  shows those that there are",
                "bad_option",
                "config",
            )
        host = str(found.Host)
        return host, {"base_url": host, "tls": found.TLSConfig or False}
    settings = kwargs_from_env()
    return settings["base_url"], settings


def pull_failed(image: str, reason: object) -> TaskFailed:
    return TaskFailed(
        f"the image {image} can't be pulled: {reason}\n"
        "  check its name, and that this machine may pull it (docker login)",
        "image_pull_failed",
        "runtime",
        platform=True,
    )
