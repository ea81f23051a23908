"""The life of one container, in a thread of its own: image, start, output, end; or found again by its name.

    the client starts it (`run --detach`), with the claim's lock, which outlives us as long as the client works
    its output is read from the beginning and appended to the log, behind what is there of it already
    its end is asked for, and told by a descriptor that becomes readable

A container stays until its end is recorded (`discard`), so that nothing is lost when dagrun dies. An engine that doesn't
answer is waited for: what it runs meanwhile is not started elsewhere.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import NamedTuple

from dagrun.errors import TaskFailed
from dagrun.executors import marks
from dagrun.executors.docker import images as image_store
from dagrun.executors.docker.archives import Archives
from dagrun.executors.docker.claims import Claim
from dagrun.executors.docker.engine import Engine, Gone, State, Unreachable
from dagrun.executors.docker.images import Images, Stopped
from dagrun.executors.docker.options import (
    Options,
    build_arguments,
    built_image,
    container_name,
    dockerfile,
    environment,
    run_arguments,
)
from dagrun.executors.docker.shared import open_up
from dagrun.executors.pump import Filter
from dagrun.plugins.executor import Exit, Launch

# Labels: for the reaper, for people, and where in the log its output begins.
STATE_DIR, CLAIM, TASK, LOG_OFFSET = "dagrun.state-dir", "dagrun.claim", "dagrun.task", "dagrun.log-offset"

CONTAINER_ID = re.compile(rb"[0-9a-f]{64}\Z")
ENV_FILE = "docker.env"
IN_USE = "is already in use"
PLATFORM = ("Cannot connect to the Docker daemon", "no space left", "connection refused", "i/o timeout")
INITS_WORD = re.compile(rb"\[FATAL tini \(\d+\)\] (exec .*)\s*\Z")  # of the container's init, if it finds no program
NOT_STARTED, NOT_RUNNABLE = 125, (126, 127)  # how the client ends when there is no container, or no such program in it
_LOOK_SECONDS = 1.0  # at a container whose output has ended, and at an engine that doesn't answer
_CLIENT_LOOK_SECONDS = 0.2
_END_BYTES = 500
_HOPELESS_SECONDS = 30.0  # an engine that is silent so long after a container was told to end isn't waited for

Masker = Callable[[Sequence[str]], Filter]


class Surroundings(NamedTuple):
    """What all containers of an executor share."""

    state_dir: str
    engine: Engine
    images: Images
    masker: Masker
    say: Callable[[str], None]
    mounts: bool  # the engine sees our files; else they travel as archives


class Container:
    """`fd` is readable when it is over; then `exit` or `problem` says how."""

    def __init__(self, launch: Launch, options: Options, claim: Claim, around: Surroundings) -> None:
        self.launch = launch
        self.options = options
        self.claim = claim
        self.around = around
        self.name = container_name(launch.name)
        self.exit: Exit | None = None
        self.problem: TaskFailed | None = None
        self.log_from = 0  # where in the log its output begins
        self.written = 0  # bytes of its output that the log has
        self.stopping: tuple[float, int] | None = None
        self.exists = False
        self.removal: threading.Thread | None = None
        self.over = threading.Event()
        self.told_to_end = threading.Event()
        self.fd, self._signal = os.pipe()
        self.client = options.client or "docker"
        self.client_environment: Mapping[str, str] = os.environ

    # -- for the thread that drives the executor

    def begin(self) -> None:
        self._thread(self._start_and_follow)

    def adopt(self) -> None:
        """It was started by an earlier process."""
        self._thread(self._find_and_follow)

    def stop(self, grace: float, number: int) -> None:
        """It gets the signal now, and KILL after the grace period. May be repeated."""
        self.stopping = grace, number
        self.told_to_end.set()
        threading.Thread(target=self._end, args=(grace, number), name=f"dagrun stop {self.name}", daemon=True).start()

    def discard(self) -> None:
        """Its end is recorded: nothing of it is left."""
        self.removal = threading.Thread(target=self._discard, name=f"dagrun remove {self.name}", daemon=True)
        self.removal.start()

    # -- threads

    def _thread(self, live: Callable[[], Exit]) -> None:
        threading.Thread(target=self._live, args=(live,), name=f"dagrun {self.name}", daemon=True).start()

    def _live(self, live: Callable[[], Exit]) -> None:
        try:
            self.exit = live()
        except Stopped:
            self.exit = Exit(128 + signal.SIGTERM)
        except TaskFailed as problem:
            self.problem = problem
        except Exception as problem:
            text = f"the container can't be run: {type(problem).__name__}: {problem}"
            self.problem = TaskFailed(text, "spawn_failed", "runtime", platform=isinstance(problem, OSError))
        finally:
            self.over.set()
            os.close(self._signal)

    def _end(self, grace: float, number: int) -> None:
        self._kill(number)
        seconds = grace
        while not self.over.wait(seconds):
            self._kill(signal.SIGKILL)
            seconds = _LOOK_SECONDS

    def _kill(self, number: int) -> None:
        with suppress(TaskFailed):  # an engine that doesn't answer will be asked again
            self.around.engine.kill(self.name, number)

    def _discard(self) -> None:
        failed = self.exit is None or self.exit.exit_code != 0
        if self.options.keep_on_fail and failed and self.exists and not self.stopping:
            self.around.say(f"kept the container of {self.launch.task}: {self.name}")
        elif self.exists:
            try:
                self.around.engine.remove(self.name)
            except TaskFailed as problem:  # the claim stays: who comes next tries again
                self.around.say(f"the container {self.name} is not removed yet: {problem}")
                return
        self.claim.withdraw()

    # -- beginning

    def _start_and_follow(self) -> Exit:
        self.log_from = log_size(self.launch.log)
        image, user = self._image()
        if self.stopping:
            raise Stopped
        ended = self._run_client(image, user)
        if ended is not None:
            return ended
        return self._follow()

    def _image(self) -> tuple[str, str]:
        """The image is there; its name, and the user that it runs as."""
        options = self.options
        stopped = self.told_to_end.is_set
        if options.build:
            tag = built_image(options, self.launch.project_id)
            if not self._is_built(tag):
                self.around.images.together(f"build {tag}", lambda: self._build(tag), stopped)
            return tag, "" if options.client else self.around.engine.image_user(tag) or ""
        if options.client is None:
            return options.image, self.around.images.have(options.image, options.pull, stopped)
        if options.pull == "always":
            self.around.images.together(
                f"pull {options.image} by {options.client}",
                lambda: image_store.pull_by_client(
                    self.client, options.image, self.client_environment, self.launch.directory
                ),
                stopped,
            )
        return options.image, ""

    def _is_built(self, tag: str) -> bool:
        if self.options.client is None:
            return self.around.engine.image_user(tag) is not None
        return image_store.is_listed(self.client, tag, self.client_environment, self.launch.directory)

    def _build(self, tag: str) -> None:
        """Its output goes into the log of the task that needed it first."""
        path = os.path.join(self.launch.io, f"Dockerfile.{tag.replace(':', '.')}")
        with open(path, "w", encoding="utf-8") as file:
            file.write(dockerfile(self.options))
        with open(self.launch.log, "ab") as log:
            process = self._popen(build_arguments(self.options, path, tag, self.launch.workspace), log, log)
            code = self._wait_for(process, kill=True)
        self.log_from = log_size(self.launch.log)
        os.unlink(path)
        if self.told_to_end.is_set():
            raise Stopped
        if code:
            raise TaskFailed(
                f"the image for this task can't be built: docker build ended with code {code}; the log says why",
                "build_failed",
                "runtime",
            )

    def _run_client(self, image: str, user: str) -> Exit | None:
        """The client has started the container, or has run the command itself: then how it ended."""
        launch, mounts = self.launch, self.around.mounts
        variables = environment({**self.options.env, **launch.environment})
        env_file = os.path.join(launch.io, ENV_FILE)
        with open(os.open(env_file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
            file.write(variables.lines)
        as_user = self._user()
        if mounts and (self.options.user or as_user is None) and (self.options.user or user) not in ("", "0", "root"):
            open_up(launch)
        argv = run_arguments(
            self.options,
            launch,
            image=image,
            name=self.name,
            labels=self._labels(),
            env_file=env_file,
            by_name=variables.by_name,
            mounts=self._mounts() if mounts else (),
            user=as_user,
            start=mounts,
        )
        self.exists = True
        try:
            with self.claim.lent() as lock:
                process = self._popen(argv, subprocess.PIPE, subprocess.PIPE, variables.by_name, lock)
            out, err = self._output_of(process)
        finally:
            os.unlink(env_file)
        if process.returncode:
            begun = self._client_failed(process.returncode, image, out, err)
        else:
            begun = CONTAINER_ID.search(out.strip()) is not None
            if begun and not mounts:
                Archives(self.around.engine, self.name, launch).send()
                self.around.engine.start(self.name)
        if begun:
            return None
        self.exists = False  # this client, whatever it is, has run the command itself
        self._append(out + err)
        return Exit(process.returncode)

    def _client_failed(self, code: int, image: str, out: bytes, err: bytes) -> bool:
        """Whether there is a container nevertheless. What the client says of its own failure becomes the task's."""
        said = err.decode(errors="replace").strip().removeprefix("docker: ")
        if code in NOT_RUNNABLE and CONTAINER_ID.search(out.strip()):
            raise self._not_runnable(image, said)
        if code != NOT_STARTED:
            return False
        if IN_USE in said and self.name in said:
            return True  # a process of ours that died has started it
        ours = any(text in said for text in PLATFORM)
        kind = "spawn_failed" if ours else "bad_option"
        raise TaskFailed(f"the container can't be started: {said}", kind, "runtime", platform=ours)

    def _not_runnable(self, image: str, said: str) -> TaskFailed:
        program = self.launch.argv[0] if self.launch.argv else "its command"
        return TaskFailed(
            f"the image {image} can't run {program}: {said}\n"
            "  use an image that has this program, or a program that the image has",
            "command_failed",
            "runtime",
        )

    def _user(self) -> str | None:
        """Files that the container writes into our directories shall be ours."""
        if os.geteuid() == 0 or not self.around.mounts or self.options.client or self.around.engine.is_rootless:
            return None
        return f"{os.geteuid()}:{os.getegid()}"

    def _labels(self) -> dict[str, str]:
        return {
            STATE_DIR: self.around.state_dir,
            CLAIM: self.claim.name,
            TASK: self.launch.task,
            LOG_OFFSET: str(self.log_from),
        }

    def _mounts(self) -> list[str]:
        return list(dict.fromkeys((self.launch.workspace, self.launch.io, *self.launch.links)))

    # -- the client

    def _popen(
        self,
        arguments: Sequence[str],
        stdout: int | object,
        stderr: int | object,
        variables: Mapping[str, str] = {},
        lock: int | None = None,
    ) -> subprocess.Popen[bytes]:
        try:
            return subprocess.Popen(
                [self.client, *arguments],
                env={**self.client_environment, **variables, marks.MARK: self.launch.name},
                cwd=self.launch.directory,
                stdin=subprocess.DEVNULL,
                stdout=stdout,  # type: ignore[arg-type]
                stderr=stderr,  # type: ignore[arg-type]
                pass_fds=() if lock is None else (lock,),
                start_new_session=True,
            )
        except FileNotFoundError:
            raise TaskFailed(
                f"there is no program {self.client}, which starts containers\n"
                "  install the Docker client (docker.io, docker-ce-cli), or name another one:  docker: {{docker: PATH}}",
                "docker_missing",
                "config",
            ) from None

    def _output_of(self, process: subprocess.Popen[bytes]) -> tuple[bytes, bytes]:
        """What the client says. One that gets the image itself may take long: it ends when the task is told to."""
        while True:
            try:
                return process.communicate(timeout=_CLIENT_LOOK_SECONDS if self.options.client else None)
            except subprocess.TimeoutExpired:
                if self.told_to_end.is_set():
                    process.kill()

    def _wait_for(self, process: subprocess.Popen[bytes], *, kill: bool) -> int:
        while True:
            try:
                return process.wait(_CLIENT_LOOK_SECONDS)
            except subprocess.TimeoutExpired:
                if kill and self.told_to_end.is_set():
                    process.kill()

    # -- finding again

    def _find_and_follow(self) -> Exit:
        self.claim.wait_for_client()
        self.exists = True
        state = self._state()
        self.log_from = int(state.labels.get(LOG_OFFSET, 0))
        self.written = max(0, log_size(self.launch.log) - self.log_from)
        if state.status == "created":  # its client died between the two steps
            if not self.around.mounts:
                raise lost("it had not begun")
            self.around.engine.start(self.name)
        return self._follow()

    def _state(self) -> State:
        while True:
            try:
                return self.around.engine.state(self.name)
            except Gone:
                self.exists = False
                raise lost("it was removed by somebody else, or never began") from None
            except Unreachable as problem:
                self._have_patience(problem)

    # -- following

    def _follow(self) -> Exit:
        """Until it has ended, whatever the engine does meanwhile."""
        if self.stopping:  # told to end while it started
            self._kill(signal.SIGKILL)
        while True:
            rest = b""
            with suppress(Unreachable, Gone):
                rest = self._copy()
            state = self._state()
            if not state.is_over:
                with suppress(Unreachable, Gone):
                    self.around.engine.wait(self.name, _LOOK_SECONDS)
                state = self._state()
            if state.is_over:
                self._append(rest)
                return self._conclude(state)

    def _copy(self) -> bytes:
        """Append its output to the log, behind what is there; returns what the mask still holds back."""
        mask = self.around.masker(self.launch.mask) if self.launch.mask else None
        position = 0
        try:
            for chunk in self.around.engine.output(self.name):
                data = mask.feed(chunk) if mask else chunk
                if position + len(data) > self.written:
                    self._append(data[max(0, self.written - position) :])
                position += len(data)
        except TaskFailed as problem:
            if problem.kind != "engine_error":
                raise
            self.around.say(f"{self.launch.task}: its output can't be read: {problem}")  # of its logging driver
            with suppress(Unreachable, Gone):
                while not self.around.engine.wait(self.name, 60.0):
                    pass
        return mask.flush() if mask else b""

    def _append(self, data: bytes) -> None:
        """A full disk takes the output, not the task: how it ends is its own affair."""
        if not data:
            return
        with suppress(OSError), open(self.launch.log, "ab") as log:
            log.write(data)
        self.written += len(data)

    def _conclude(self, state: State) -> Exit:
        if state.error and not state.exit_code:
            raise TaskFailed(f"the container did not run: {state.error}", "spawn_failed", "runtime", platform=True)
        if not self.around.mounts and not self.stopping:
            Archives(self.around.engine, self.name, self.launch).fetch()
        if state.exit_code in NOT_RUNNABLE and (told := INITS_WORD.search(log_end(self.launch.log))):
            raise self._not_runnable(self.options.image, told[1].decode(errors="replace"))
        return Exit(state.exit_code, oom=state.oom and state.exit_code != 0)

    def _have_patience(self, problem: Unreachable) -> None:
        """An engine that is down may be restarted, and its containers may be at work all the time."""
        if self.told_to_end.wait(_LOOK_SECONDS):
            silent = threading.Event().wait
            for _ in range(int(_HOPELESS_SECONDS)):
                silent(_LOOK_SECONDS)
                with suppress(Unreachable, Gone):
                    self.around.engine.state(self.name)
                    return
            raise lost(f"the engine doesn't answer: {problem}")


def lost(why: str) -> TaskFailed:
    return TaskFailed(f"The container is gone, and how it ended is not known: {why}", "lost", platform=True)


def log_end(path: str) -> bytes:
    with open(path, "rb") as log:
        log.seek(max(0, os.fstat(log.fileno()).st_size - _END_BYTES))
        return log.read()


def log_size(path: str) -> int:
    try:
        return os.stat(path).st_size
    except FileNotFoundError:
        return 0
