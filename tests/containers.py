"""A Docker engine for tests: one for all test processes of a run, started with the first question.

    host = containers.engine()        what DOCKER_HOST is to be; it has the images `busybox` and `python`

`dockerd` comes from Debian's docker.io and needs root. Where it can't start, the test is skipped and says what is missing; on CI
(CI=true) it fails. A watcher ends it and removes its files as soon as the run is over, however it ended.

The images need no registry: `busybox` holds that of busybox-static, `python` the interpreter that runs the tests.
"""

from __future__ import annotations

import fcntl
import io
import os
import re
import shutil
import socket
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path

from tests.missing import give_up, need

START_SECONDS = 60
LOOK_AGAIN_SECONDS = 0.05
# Of the interpreter, what no test runs, and what is large.
LEFT_OUT = re.compile(
    r"/(test|tests|__pycache__|site-packages|idlelib|lib2to3|ensurepip|tkinter|config-[^/]*|turtledemo)(/|$)|\.a$"
)
WATCHER = """
while kill -0 $1 2>/dev/null; do sleep 0.2; done
kill $2
i=0
while kill -0 $2 && [ $((i += 1)) -le 200 ]; do sleep 0.05; done 2>/dev/null
rm -rf "$3"
"""


def engine() -> str:
    """The address of the engine, with its images."""
    problem, host = _engine()
    if problem:
        give_up(f"no Docker engine: {problem}")
    return host


def remote() -> str:
    """The same engine, as one that doesn't see our files."""
    place = Path(engine().removeprefix("unix://")).parent
    return f"tcp://{(place / 'address').read_text()}"


def docker(*words: str, stdin: bytes | None = None) -> str:
    """What the client prints."""
    ended = subprocess.run(
        ["docker", *words], input=stdin, capture_output=True, check=True, env={**os.environ, "DOCKER_HOST": engine()}
    )
    return ended.stdout.decode().strip()


def all_containers(place: str) -> list[str]:
    """The names of those that a dagrun with its state below this directory has made, running or not."""
    listed = docker("ps", "-a", "--format", '{{.Names}} {{.Label "dagrun.state-dir"}}')
    return [line.split()[0] for line in listed.splitlines() if line.partition(" ")[2].startswith(place)]


@cache
def _engine() -> tuple[str, str]:
    need("dockerd", "docker", "busybox")
    if os.geteuid() != 0:
        return "dockerd needs root", ""
    run = os.environ.get("PYTEST_XDIST_TESTRUNUID", str(os.getpid()))
    top = Path(tempfile.gettempdir()) / f"dagrun-docker-{run[:12]}"
    top.mkdir(exist_ok=True)
    host = f"unix://{top}/docker.sock"
    with (top / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if (top / "problem").exists():
            return (top / "problem").read_text(), ""
        if not (top / "ready").exists():
            problem = _start(top, host)
            (top / ("problem" if problem else "ready")).write_text(problem)
            return problem, host
    return "", host


def _start(top: Path, host: str) -> str:
    address = f"127.0.0.1:{free_port()}"
    (top / "address").write_text(address)
    with (top / "log").open("w") as log:
        server = subprocess.Popen(
            [
                "dockerd", "--data-root", f"{top}/data", "--exec-root", f"{top}/exec", "--pidfile", f"{top}/pid",
                "-H", host, "-H", f"tcp://{address}", "--iptables=false", "--bridge=none",
            ],
            stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
    run = os.getppid() if "PYTEST_XDIST_WORKER" in os.environ else os.getpid()
    subprocess.Popen(
        ["/bin/sh", "-c", WATCHER, "watcher", str(run), str(server.pid), str(top)], start_new_session=True,
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    deadline = time.monotonic() + START_SECONDS
    while subprocess.run(["docker", "-H", host, "version"], capture_output=True, check=False).returncode:
        if server.poll() is not None or time.monotonic() > deadline:
            return "dockerd doesn't start: " + (top / "log").read_text()[-500:]
        time.sleep(LOOK_AGAIN_SECONDS)
    for name, command, image in (("busybox", '["sh"]', busybox()), ("python", '["python3"]', python())):
        imported = subprocess.run(
            ["docker", "-H", host, "import", "-c", f"CMD {command}", "-", f"{name}:latest"],
            input=image, capture_output=True, check=False,
        )  # fmt: skip
        if imported.returncode:
            return imported.stderr.decode()
    return ""


def busybox() -> bytes:
    """A root file system in which there is a shell, and what belongs to it."""
    program = str(shutil.which("busybox"))
    names = subprocess.run([program, "--list"], capture_output=True, text=True, check=True).stdout.split()
    with Image() as image:
        for directory in ("bin", "etc", "root", "usr", "usr/bin"):
            image.directory(directory, 0o755)
        image.tar.add(program, "bin/busybox")
        for name in sorted({*names} - {"busybox"}):
            image.link(f"bin/{name}", "busybox")
        image.program(Path(str(shutil.which("flock"))))  # by which tests see what lives
        image.file("etc/os-release", b"NAME=BusyBox\nID=busybox\n")
        image.file("etc/passwd", b"root:x:0:0:root:/root:/bin/sh\nsomebody:x:4321:4321::/:/bin/sh\n")
        image.directory("tmp", 0o1777)
    return image.content


def python() -> bytes:
    """The same, with the interpreter that runs the tests, as `python` and `python3`."""
    base = Path(sys.base_prefix)
    program = Path(os.path.realpath(base / "bin" / f"python3.{sys.version_info.minor}"))
    library = Path(os.__file__).parent
    with Image(busybox()) as image:
        image.program(program, [str(path) for path in (library / "lib-dynload").glob("*.so")])
        image.tar.add(
            library, str(library).lstrip("/"), filter=lambda entry: None if LEFT_OUT.search(entry.name) else entry
        )
        for name in ("python", "python3"):
            image.link(f"usr/bin/{name}", str(program))
    return image.content


def libraries(files: Sequence[str]) -> list[str]:
    """The shared libraries that they need, with the loader."""
    printed = subprocess.run(["ldd", *files], capture_output=True, text=True, check=False).stdout
    return sorted(set(re.findall(r"(/\S+) \(0x", printed)))


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


class Image:
    """A tar file of a root file system."""

    def __init__(self, base: bytes = b"") -> None:
        self.buffer = io.BytesIO(base)
        self.tar = tarfile.open(fileobj=self.buffer, mode="a" if base else "w")  # noqa: SIM115
        self.content = b""

    def __enter__(self) -> Image:
        return self

    def __exit__(self, *_: object) -> None:
        self.tar.close()
        self.content = self.buffer.getvalue()

    def file(self, path: str, content: bytes, mode: int = 0o644) -> None:
        entry = tarfile.TarInfo(path)
        entry.size, entry.mode = len(content), mode
        self.tar.addfile(entry, io.BytesIO(content))

    def program(self, path: Path, modules: Sequence[str] = ()) -> None:
        """With the libraries that it needs, under the same paths, which everybody may enter."""
        for file in [str(path), *libraries([str(path), *modules])]:
            name = file.lstrip("/")
            for parent in reversed(Path(name).parents[:-1]):
                self.directory(str(parent), 0o755)
            if name not in self.tar.getnames():
                self.tar.add(os.path.realpath(file), name)

    def link(self, path: str, target: str) -> None:
        entry = tarfile.TarInfo(path)
        entry.type, entry.linkname = tarfile.SYMTYPE, target
        self.tar.addfile(entry)

    def directory(self, path: str, mode: int) -> None:
        if path in self.tar.getnames():
            return
        entry = tarfile.TarInfo(path)
        entry.type, entry.mode = tarfile.DIRTYPE, mode
        self.tar.addfile(entry)


def registry(directory: Path) -> Iterator[str]:
    """A registry on this machine; yields its address."""
    need("docker-registry")
    port = free_port()
    config = directory / "registry.yml"
    config.write_text(
        f"version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {directory}/registry}}}}\n"
        f"http: {{addr: '127.0.0.1:{port}'}}\n"
    )
    with (directory / "registry.log").open("w") as log:
        server = subprocess.Popen(["docker-registry", "serve", str(config)], stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + START_SECONDS
        while True:
            with socket.socket() as wire:
                if wire.connect_ex(("127.0.0.1", port)) == 0:
                    break
            assert server.poll() is None and time.monotonic() < deadline, (directory / "registry.log").read_text()
            time.sleep(LOOK_AGAIN_SECONDS)
        yield f"127.0.0.1:{port}"
    finally:
        server.kill()
        server.wait()
