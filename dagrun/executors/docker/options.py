"""What a task says of its container, and the command line that starts it. Nothing here runs anything.

    docker:  image pull_always docker run_options build build_options selinux      (Digdag: spec/operators 4.3)
    _docker: image pull volumes env user network cpu mem pids gpus workdir keep_on_fail    (features F80)

Both maps may have all of the keys. The arguments stand in Digdag's order: ours that a file may override before its
`run_options`, ours that it may not override behind them.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from dagrun.core.config import Params
from dagrun.errors import TaskFailed
from dagrun.light import NamedTuple
from dagrun.plugins.executor import Launch

PULLS = ("missing", "always", "never")
VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
LONGEST_LINE = 60_000  # bytes; the client's reader of environment files gives up at 64 KiB
# Variables by which the client itself is steered: they travel in a file, never in its own environment.
CLIENTS_OWN = re.compile(
    r"(PATH|HOME|TMPDIR|(LD|DOCKER|XDG|SSH|GODEBUG|HTTPS?|NO|ALL)(_.*)?|.*_proxy)\Z", re.IGNORECASE
)


class Options(NamedTuple):
    """A task's container. Sizes are texts as the client reads them: `512m`, `1.5`."""

    image: str
    client: str | None = None  # the program that the file names instead of `docker`
    run_options: Sequence[str] = ()
    pull: str = "missing"
    build: Sequence[str] = ()  # one RUN each
    build_options: Sequence[str] = ()
    selinux: bool = False
    volumes: Sequence[str] = ()
    env: Mapping[str, str] = {}
    user: str | None = None
    network: str | None = None
    cpu: str | None = None
    mem: str | None = None
    pids: str | None = None
    gpus: str | None = None
    workdir: str | None = None
    keep_on_fail: bool = False


def read(given: Mapping[str, Any]) -> Options:
    """Raises TaskFailed: no image, a value of the wrong type."""
    params = Params(given)
    if not params.get("image"):
        raise TaskFailed("docker: needs the name of an image, like  image: debian:12", "missing (image)", "config")
    pull = params.text("pull", "always" if params.boolean("pull_always", False) else "missing")
    if pull not in PULLS:
        raise TaskFailed(f"docker: pull can't be {pull!r}; use {', '.join(PULLS)}", "bad_option", "config")
    return Options(
        image=params.text("image"),
        client=params.text("docker", None),
        run_options=texts(params, "run_options"),
        pull=pull,
        build=[line for entry in texts(params, "build") for line in entry.splitlines() if line.strip()],
        build_options=texts(params, "build_options"),
        selinux=params.boolean("selinux", False),
        volumes=texts(params, "volumes"),
        env=variables(params),
        user=params.text("user", None),
        network=params.text("network", None),
        cpu=params.text("cpu", None),
        mem=params.text("mem", None),
        pids=params.text("pids", None),
        gpus=params.text("gpus", None),
        workdir=params.text("workdir", None),
        keep_on_fail=params.boolean("keep_on_fail", False),
    )


def texts(params: Params, key: str) -> list[str]:
    given = params.list_(key, [])
    words = Params({f"{key}[{index}]": word for index, word in enumerate(given)})
    return [words.text(name) for name in words]


def variables(params: Params) -> dict[str, str]:
    given = Params(params.optional_map("env"))
    for name in given:
        if not VARIABLE.match(name):
            raise TaskFailed(f"docker: env: {name!r} can't be the name of a variable", "bad_option", "config")
    return {name: given.text(name) for name, value in given.items() if value is not None}


# -- environment


class Environment(NamedTuple):
    """How variables reach a container without standing in the list of processes, where everybody can read them."""

    lines: str  # of the client's --env-file
    by_name: Mapping[str, str]  # -e NAME: the client takes the value out of its own environment


def environment(values: Mapping[str, str]) -> Environment:
    """Raises TaskFailed for a value that can travel neither way."""
    lines, by_name = [], {}
    for name, value in values.items():
        if is_line(value):
            lines.append(f"{name}={value}\n")
        elif CLIENTS_OWN.match(name):
            raise TaskFailed(
                f"{name} can't be handed to a container: its value has several lines, or is very long",
                "bad_option",
                "config",
            )
        else:
            by_name[name] = value
    return Environment("".join(lines), by_name)


def is_line(value: str) -> bool:
    if "\n" in value or "\r" in value:
        return False
    try:
        return len(value.encode()) < LONGEST_LINE
    except UnicodeEncodeError:  # bytes that are no text
        return False


# -- command lines


def run_arguments(
    options: Options,
    launch: Launch,
    *,
    image: str,
    name: str,
    labels: Mapping[str, str],
    env_file: str,
    by_name: Iterable[str],
    mounts: Sequence[str],
    user: str | None,
    start: bool,
) -> list[str]:
    """The client's arguments. `start` is false for `create`: files have to be brought into the container before.

    `--rm` stands where Digdag has it, and is taken back, as is an `--rm` of `run_options`: a container must outlive its end
    until that is recorded. It isn't restarted either, by whatever `run_options` say, nor does it get an input, whose end
    nobody would ever tell it.
    """
    words = ["run" if start else "create", "--init"]
    for option, value in (
        ("--user", options.user or user),
        ("--network", options.network),
        ("--cpus", options.cpu),
        ("--memory", options.mem),
        ("--pids-limit", options.pids),
        ("--gpus", options.gpus),
    ):
        if value is not None:
            words += [option, value]
    words += [*logging(options), *options.run_options, "--rm"]
    for directory in mounts:
        words += mount(directory, options.selinux)
    for volume in options.volumes:
        words += ["-v", volume]
    words += ["-w", options.workdir or launch.directory]
    if start:
        words += ["--detach"]
    words += ["--rm=false", "--interactive=false", "--restart", "no", "--name", name]
    for label, text in labels.items():
        words += ["--label", f"{label}={text}"]
    words += ["--env-file", env_file]
    for variable in by_name:
        words += ["-e", variable]
    return [*words, image, *launch.argv]


def logging(options: Options) -> Sequence[str]:
    """Output is read again from its beginning by whoever comes after a dead dagrun: nothing may be cut off, or changed.

    Engines are often told to throw old output away, and their usual driver, json-file, replaces bytes that are no text.
    """
    if options.client or any(word.startswith("--log-") for word in options.run_options):
        return ()
    return ("--log-driver", "local", "--log-opt", "max-size=1000g")


def mount(directory: str, selinux: bool) -> list[str]:
    """At the same path inside. `-v` can't have a colon in a path."""
    if ":" not in directory:
        return ["-v", f"{directory}:{directory}:rw{',Z' if selinux else ''}"]
    return ["--mount", f"type=bind,src={directory},dst={directory}"]


def build_arguments(options: Options, dockerfile: str, tag: str, project: str) -> list[str]:
    return ["build", *options.build_options, "-f", dockerfile, "--force-rm", "-t", tag, project]


def dockerfile(options: Options) -> str:
    return "".join([f"FROM {options.image}\n", *(f"RUN {line}\n" for line in options.build)])


def built_image(options: Options, project_id: int) -> str:
    """The name of what `build` makes: the same for the same list, whatever the revision, so that it is built once."""
    content = json.dumps([options.image, list(options.build), list(options.build_options)])
    return f"digdag-project-{project_id}:{hashlib.sha1(content.encode(), usedforsecurity=False).hexdigest()}"


def container_name(try_name: str) -> str:
    """`<store>/<attempt>.<task>.<try>[+n]` as a container may be called."""
    store, _, rest = try_name.rpartition("/")
    return f"dagrun-{rest.replace('+', '-')}-{re.sub('[^A-Za-z0-9_.-]', '_', store)}"
