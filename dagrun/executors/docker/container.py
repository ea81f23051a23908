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
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial

from dagrun.errors import TaskFailed
from dagrun.executors import marks
from dagrun.executors.docker.archives import Archives
from dagrun.executors.docker.claims import Claim
from dagrun.executors.docker.client import Client, Process, Stopped, send
from dagrun.executors.docker.engine import Engine, Gone, State, Unreachable
from dagrun.executors.docker.images import Images, image_name
from dagrun.executors.docker.options import Options, container_name, environment, run_arguments
from dagrun.executors.docker.output import Output
from dagrun.executors.docker.shared import open_up, take_back
from dagrun.executors.pump import Filter
from dagrun.light import NamedTuple
from dagrun.plugins.executor import Exit, Launch

# Labels: for people, for the reaper, and where in the log its output begins.
STATE_DIR, TASK, TRY, LOG_OFFSET = "dagrun.state-dir", "dagrun.task", "dagrun.try", "dagrun.log-offset"

CONTAINER_ID = re.compile(rb"[0-9a-f]{64}\Z")
ENV_FILE = "docker.env"
IN_USE = "is already in use"
PLATFORM = ("Cannot connect to the Docker daemon", "no space left", "connection refused", "i/o timeout")
# What the client says if it got no answer; "Error response from daemon" is one.
BROKEN_OFF = re.compile(r"error during connect|(?:unexpected )?EOF\Z|connection reset by peer|broken pipe")
CLIENTS_NOISE = re.compile(r"\Adocker: |\n+(Run 'docker|See 'docker)[^\n]*\Z")
INITS_WORD = re.compile(rb"\[FATAL tini \(\d+\)\] (exec .*)\s*\Z")  # of the container's init, if it finds no program
NOT_STARTED, NOT_RUNNABLE = 125, (126, 127)  # how the client ends when there is no container, or no such program in it
BY_SIGNAL = 128
ROOT = ("", "0", "root")
_LOOK_SECONDS = 1.0  # at a container whose output has ended, and at an engine that doesn't answer
_CLIENT_SECONDS = 10.0  # a client that starts a container takes a fraction of one
_LATE_SECONDS = 2.0  # so long after its client's death may a container appear
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
    closing: threading.Event  # dagrun ends, and has no time to try again


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
        self.exists = False
        self.silences = 0  # how often the engine didn't answer
        self.starting: Process | None = None  # the client, at work
        self.removal: threading.Thread | None = None
        self.told_to_end = threading.Event()
        self.begun = threading.Event()  # what is told to it now is heard
        self.over = threading.Event()
        self._ending = threading.Lock()
        self.fd, self._signal = os.pipe()
        self.client = Client(options.client or "docker", launch, self.told_to_end.is_set)
        masker = partial(around.masker, launch.mask) if launch.mask else None
        self.output = Output(launch.log, masker, self.over.is_set)

    # -- for the thread that drives the executor

    def begin(self) -> None:
        self._thread(self._live, self._start_and_follow)

    def adopt(self) -> None:
        """It was started by an earlier process, or was to be."""
        self._thread(self._live, self._find_and_follow)

    def stop(self, grace: float, number: int) -> None:
        """It gets the signal as soon as it runs, and KILL after the grace period. May be repeated."""
        self.told_to_end.set()
        self._thread(self._end, grace, number)

    def discard(self) -> None:
        """Its end is recorded: nothing of it is left."""
        self.removal = self._thread(self._discard)

    def close(self) -> None:
        """For one that never began."""
        os.close(self.fd)
        os.close(self._signal)

    # -- threads

    def _thread(self, work: Callable[..., None], *arguments: object) -> threading.Thread:
        thread = threading.Thread(target=work, args=arguments, name=f"dagrun {self.name}", daemon=True)
        thread.start()
        return thread

    def _live(self, live: Callable[[], Exit]) -> None:
        try:
            self._finish(live())
        except Stopped:
            self._finish(Exit(BY_SIGNAL + signal.SIGTERM))
        except TaskFailed as problem:
            self._finish(problem=problem)
        except Exception as problem:
            text = f"the container can't be run: {type(problem).__name__}: {problem}"
            self._finish(problem=TaskFailed(text, "spawn_failed", "runtime", platform=isinstance(problem, OSError)))

    def _finish(self, found: Exit | None = None, problem: TaskFailed | None = None) -> None:
        """It is over, and this is how, unless that was said before."""
        with self._ending:
            if not self.over.is_set():
                self.exit, self.problem = found, problem
                self.over.set()
                self.begun.set()
                os.close(self._signal)

    def _end(self, grace: float, number: int) -> None:
        """One that is just being started gets its signal when it runs. An engine that stays silent isn't waited for."""
        begun_at = heard_at = time.monotonic()
        if self.options.client:  # it may run the command itself
            self._tell_client(number)
        self.begun.wait(grace)
        self._kill(number)
        seconds = max(0.0, begun_at + grace - time.monotonic())
        while not self.over.wait(seconds):
            seconds = _LOOK_SECONDS
            now = time.monotonic()
            if self.options.client or now - begun_at > _CLIENT_SECONDS:
                self._tell_client(signal.SIGKILL)
            if self._kill(signal.SIGKILL):
                heard_at = now
            elif now - heard_at > _HOPELESS_SECONDS:
                self._finish(problem=lost("its engine doesn't answer"))

    def _tell_client(self, number: int) -> None:
        if self.starting is not None:
            send(self.starting, number)

    def _kill(self, number: int) -> bool:
        """Whether the engine has heard it."""
        if self.over.is_set():
            return True
        try:
            self.around.engine.kill(self.name, number)
        except TaskFailed:
            return False
        return True

    def _discard(self) -> None:
        failed = self.exit is None or self.exit.exit_code != 0
        if self.options.keep_on_fail and failed and self.exists and not self.told_to_end.is_set():
            self.around.say(f"kept the container of {self.launch.task}: {self.name}")
        elif self.exists and not self._is_removed():
            return  # the claim stays: who comes next tries again
        self.claim.withdraw()

    def _is_removed(self) -> bool:
        """Sooner or later; not if dagrun ends before the engine has obeyed."""
        told = False
        while True:
            try:
                self.around.engine.remove(self.name)
                return True
            except TaskFailed as problem:
                if not told:
                    self.around.say(f"the container {self.name} is not removed yet: {problem}")
                told = True
            if self.around.closing.wait(_LOOK_SECONDS):
                return False

    # -- beginning

    def _start_and_follow(self) -> Exit:
        image, user = self.around.images.ready(self.options, self.launch, self.client)
        if self.told_to_end.is_set():
            raise Stopped
        self.output.begin()
        ended = self._run_client(image, user)
        return self._follow() if ended is None else ended

    def _run_client(self, image: str, user: str) -> Exit | None:
        """The client has started the container, or has run the command itself: then how it ended."""
        launch, mounts = self.launch, self.around.mounts
        variables = environment({**self.options.env, **launch.environment})
        env_file = os.path.join(launch.io, ENV_FILE)
        with open(os.open(env_file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
            file.write(variables.lines)
        as_user = self._user()
        if mounts and (self.options.user or as_user is None) and (self.options.user or user) not in ROOT:
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
                process = self.starting = self.client.start(argv, variables=variables.by_name, lock=lock)
            out, err = process.communicate()
        finally:
            self.starting = None
            os.unlink(env_file)
        if process.returncode == 0 and CONTAINER_ID.search(out.strip()):
            if not mounts:
                Archives(self.around.engine, self.name, launch).send()
                self._start()
            return None
        return self._without_container(process.returncode, image, out, err)

    def _without_container(self, code: int, image: str, out: bytes, err: bytes) -> Exit | None:
        """None if there is one nevertheless. What the client says of its own failure becomes the task's."""
        said = CLIENTS_NOISE.sub("", err.decode(errors="replace").strip())
        if code in NOT_RUNNABLE and CONTAINER_ID.search(out.strip()):
            raise self._not_runnable(image, said)
        if code == NOT_STARTED and IN_USE in said and self.name in said:  # a process of ours that died has made it
            self._found()
            return None
        if code < 0:
            return self._all_the_same(f"its client was ended by signal {-code}", BY_SIGNAL - code)
        if not self.options.client and BROKEN_OFF.search(said) and "response from daemon" not in said:
            return self._all_the_same(said, code)
        if code != NOT_STARTED and self.options.client:  # whatever it is, it has run the command itself
            self.exists = False
            self.output.append(out + err)
            return Exit(code)
        ours = any(text in said for text in PLATFORM)
        kind = "spawn_failed" if ours else "bad_option"
        raise TaskFailed(f"the container can't be started: {said}", kind, "runtime", platform=ours)

    def _all_the_same(self, problem: str, code: int) -> Exit | None:
        """None if the container is there, although its client didn't live to see that, or got no answer."""
        deadline = time.monotonic() + _LATE_SECONDS
        while True:
            try:
                self._found()
                return None
            except TaskFailed as found:
                if found.kind != "lost":
                    raise
            if self.options.client:
                return Exit(code)
            if time.monotonic() > deadline:
                break
            time.sleep(_LATE_SECONDS / 20)
        if self.told_to_end.is_set():
            raise Stopped
        self.exists = True  # perhaps it is made even now
        raise TaskFailed(f"the container can't be started: {problem}", "spawn_failed", platform=True)

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
            TASK: self.launch.task,
            TRY: self.launch.name,
            LOG_OFFSET: str(self.output.begins_at),
        }

    def _mounts(self) -> list[str]:
        return list(dict.fromkeys((self.launch.workspace, self.launch.io, *self.launch.links)))

    # -- finding again

    def _find_and_follow(self) -> Exit:
        self.claim.wait_for_client()
        with suppress(FileNotFoundError):
            os.unlink(os.path.join(self.launch.io, ENV_FILE))
        if not self.claim.was_lent() and self.options.image:
            marks.sweep_try(self.launch.name)  # of a build or a pull that its dagrun died over
            return self._start_and_follow()
        state = self._found()
        self.output.go_on(int(state.labels.get(LOG_OFFSET, 0)))
        return self._follow()

    def _found(self) -> State:
        """It is there, and has begun. Raises TaskFailed (`lost`)."""
        self.exists = True
        state = self._state()
        if state.status == "created":  # its client died between the two steps
            if not self.around.mounts:
                raise lost("it had not begun")
            self._start()
        return state

    def _start(self) -> None:
        """It has begun, once: an engine whose answer was lost may have started it, and it may have ended since."""
        while True:
            try:
                return self.around.engine.start(self.name)
            except Unreachable:
                self._have_patience()
            if self._state().status != "created":
                return None

    def _state(self) -> State:
        while True:
            try:
                return self.around.engine.state(self.name)
            except Gone:
                self.exists = False
                raise lost("it was removed by somebody else, or never began") from None
            except Unreachable:
                self._have_patience()

    # -- following

    def _follow(self) -> Exit:
        """Until it has ended, whatever the engine does meanwhile."""
        self.begun.set()
        while True:
            self._copy(follow=True)
            state = self._state()
            if not state.is_over:
                with suppress(Unreachable, Gone):
                    self.around.engine.wait(self.name, _LOOK_SECONDS)
                continue
            rest = self._copy(follow=False)  # engines before 23 may end what follows a little too soon
            if rest is not None:
                self.output.append(rest)
                self._take_back()
                return self._conclude(state)

    def _copy(self, *, follow: bool) -> bytes | None:
        """Its output is in the log; what the mask still holds back. None when it broke off: there may be more."""
        try:
            return self.output.copy(self.around.engine.output(self.name, follow=follow))
        except (Unreachable, Gone):
            return None
        except TaskFailed as problem:
            if problem.kind != "engine_error":
                raise
            if follow:
                self.around.say(f"{self.launch.task}: its output can't be read: {problem}")  # of its logging driver
                with suppress(Unreachable, Gone):
                    while not self.around.engine.wait(self.name, 60.0):
                        pass
            return b""

    def _take_back(self) -> None:
        """Its files are ours, if it ran as somebody else."""
        image, engine = image_name(self.options, self.launch), self.around.engine
        if os.geteuid() == 0 or not self.around.mounts or self.options.client or not image:
            return
        if (self.options.user or engine.image_user(image)) in ROOT if engine.is_rootless else not self.options.user:
            return
        owner = "0:0" if engine.is_rootless else f"{os.geteuid()}:{os.getegid()}"
        take_back(self.launch, Client("docker", self.launch, self.over.is_set), image, owner)

    def _conclude(self, state: State) -> Exit:
        if state.error and not state.exit_code:
            raise TaskFailed(f"the container did not run: {state.error}", "spawn_failed", "runtime", platform=True)
        if state.exit_code > BY_SIGNAL and not self.told_to_end.is_set() and self._engine_went():
            text = f"the engine was stopped, or restarted, and ended the container with code {state.exit_code}"
            raise TaskFailed(text, "lost", platform=True)
        if not self.around.mounts and not self.told_to_end.is_set():
            self._patiently(Archives(self.around.engine, self.name, self.launch).fetch)
        if state.exit_code in NOT_RUNNABLE and (told := INITS_WORD.search(self.output.end())):
            raise self._not_runnable(self.options.image, told[1].decode(errors="replace"))
        return Exit(state.exit_code, oom=state.oom and state.exit_code != 0)

    def _engine_went(self) -> bool:
        return self.silences > 0 or not self.around.engine.takes_connections

    def _patiently(self, ask: Callable[[], None]) -> None:
        while True:
            try:
                return ask()
            except Unreachable:
                self._have_patience()

    def _have_patience(self) -> None:
        """An engine that is down may be restarted, and its containers may be at work all the time."""
        self.silences += 1
        if self.over.wait(_LOOK_SECONDS):  # given up
            raise Stopped


def lost(why: str) -> TaskFailed:
    return TaskFailed(f"The container is gone, and how it ended is not known: {why}", "lost", platform=True)
