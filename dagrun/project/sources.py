"""Where the daemon's projects come from: a directory, folders of one, git repositories. What lists them is read here, too;
`listed.py` follows its changes.

    look() -> the projects as they are now, and what is wrong with some of them (`problems`)

A repository is fetched by a thread of its own, so that a slow network never delays a schedule. What was fetched last goes on
when a fetch fails.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from typing import Any

from dagrun.core.config import Map, Params
from dagrun.core.yaml import load
from dagrun.errors import NotFound, TaskFailed, UserError
from dagrun.light import NamedTuple
from dagrun.project.git import Commit, Repository
from dagrun.project.synced import Status, wished, write_status

LIST = "projects.yaml"
GOOD = "good.json"  # beside a repository's mirror: the commit that was taken over last
EVERY_SECONDS = 60.0


class Place(NamedTuple):
    """Where a project is. `commit` tells of one that came from git."""

    name: str
    directory: str
    commit: Mapping[str, Any] | None = None


class Folder:
    """A directory that is one project, or holds one in each folder with workflows."""

    def __init__(self, directory: str, name: str) -> None:
        self.directory = os.path.abspath(directory)
        self.name = name
        self.key = (name, self.directory)
        self.problems: dict[str, str] = {}

    def look(self) -> Sequence[Place]:
        if has_workflows(self.directory):
            return [Place(self.name, self.directory)]
        try:
            entries = sorted(os.scandir(self.directory), key=lambda entry: entry.name)
        except OSError as problem:
            raise UserError(
                f"{self.directory} can't be read: {problem.strerror}\n  bring it back, or stop me"
            ) from None
        folders = [
            Place(entry.name, entry.path)
            for entry in entries
            if entry.is_dir() and not entry.name.startswith(".") and has_workflows(entry.path)
        ]
        return folders or [Place(self.name, self.directory)]

    def taken(self, place: Place) -> None:
        pass

    def last_good(self, name: str) -> Place | None:  # noqa: ARG002
        return None

    def keep(self, commits: Collection[str]) -> None:
        pass

    def tell(self, place: Place, refusal: str | None) -> None:
        pass

    def close(self) -> None:
        pass


def has_workflows(directory: str) -> bool:
    try:
        return any(name.endswith(".dig") for name in os.listdir(directory))
    except OSError:
        return False


class Git:
    """A branch of a repository, fetched every so many seconds and when `sync` asks for it.

    One thread looks, another one fetches. `guard` is held for moments only: where the place changes hands.
    """

    def __init__(
        self, name: str, url: str, directory: str, *, branch: str | None, path: str, every: float, token: str | None
    ) -> None:
        self.name = name
        self.key = (name, url, branch, path, every, token)
        self.every = every
        self.problems: dict[str, str] = {}
        self.directory = os.path.join(directory, name)
        self.state_dir = os.path.dirname(directory)
        self.repository = Repository(url, self.directory, branch=branch, path=path, token=token)
        self.place: Place | None = None
        self.guard = threading.Lock()
        self.needed: set[str] | None = None  # commits that are current or that attempts run on
        self.given: set[str] = set()  # commits that `look` gave since that was told
        self.asked = wished(self.directory)
        self.fetched = 0, 0  # when the last fetch ended, and which wish it answers
        self.looked = self.fetched  # that of what `look` gave last
        self.told: Status | None = None
        self.ended = threading.Event()
        self.wake = threading.Event()
        self.thread: threading.Thread | None = None

    def look(self) -> Sequence[Place]:
        """The first time it fetches; what was good before goes on if that fails, else it is refused."""
        if self.thread is None:
            self.place = self.last_good(self.name)
            self.fetch()
            if self.place is None:
                raise UserError(f"{self.name}: {self.problems[self.name]}")
            self.thread = threading.Thread(target=self.keep_fetching, name=f"git-{self.name}", daemon=True)
            self.thread.start()
        asked = wished(self.directory)
        if asked != self.asked:
            self.asked = asked
            self.wake.set()
        self.looked = self.fetched
        with self.guard:
            assert self.place is not None
            self.given.add(id_of(self.place))
            return [self.place]

    # -- the thread that fetches

    def keep_fetching(self) -> None:
        while not self.ended.is_set():
            self.wake.wait(self.every)
            self.wake.clear()
            if not self.ended.is_set():
                self.fetch()
                self.forget_trees()

    def fetch(self) -> None:
        asked = wished(self.directory)
        try:
            commit = self.repository.fetch()
            place = self.place_of(commit)
        except UserError as problem:
            instead = "; the last good commit goes on" if self.place else ""
            self.problems = {self.name: f"can't be fetched{instead}: {problem}"}
        except Exception as problem:
            self.problems = {self.name: f"{self.repository.url}: {type(problem).__name__}: {problem}"}
        else:
            with self.guard:
                self.place = place
            self.problems = {}
        self.fetched = time.time_ns() // 1000, asked

    def place_of(self, commit: Commit) -> Place:
        directory = self.repository.tree(commit.id)
        tree = os.path.relpath(directory, self.state_dir)
        return Place(self.name, directory, {**facts_of(commit, self.repository), "tree": tree})

    def forget_trees(self) -> None:
        """No trees are left that nobody uses. What is given later is among those that are kept now, or newer."""
        with self.guard:
            if self.needed is None or self.place is None:
                return
            needed = {*self.needed, *self.given, id_of(self.place)}
        with suppress(UserError):  # the next time, then
            self.repository.remove_trees(needed)

    # -- what becomes of commits

    def keep(self, commits: Collection[str]) -> None:
        with self.guard:
            self.needed, self.given = set(commits), set()

    def keep_all(self) -> None:
        """Until it is told what to keep: another source may use the same mirror."""
        with self.guard:
            self.needed = None

    def taken(self, place: Place) -> None:
        """What runs now is found again by the next process, also when the remote can't be reached or is broken then."""
        if place.name != self.name or place.commit is None:
            return
        part = f"{self.directory}/{GOOD}.part"
        with open(part, "w", encoding="utf-8") as file:
            json.dump(place.commit, file)
        os.replace(part, f"{self.directory}/{GOOD}")

    def last_good(self, name: str) -> Place | None:
        """None also when another branch or path was asked for then."""
        if name != self.name:
            return None
        facts = taken_commit(self.directory)
        try:
            commit = Commit(*(facts[field] for field in Commit._fields))
            place = self.place_of(commit)
        except (OSError, KeyError, UserError):
            return None
        return place if place.commit == facts else None

    def tell(self, place: Place, refusal: str | None) -> None:
        """For `dagrun sync`: what was fetched, and what became of it."""
        if place.name != self.name or place.commit is None:
            return
        problem, repository = self.problems.get(self.name), self.repository
        found = Status(
            os.getpid(), *self.looked, repository.url, repository.branch, repository.path, place.commit,
            fetched=problem is None, taken_over=refusal is None, problem=problem or refusal,
        )  # fmt: skip
        if found != self.told:
            with suppress(OSError):  # the next time, then: schedules are more important
                write_status(self.directory, found)
                self.told = found

    def close(self) -> None:
        self.ended.set()
        self.wake.set()


def taken_commit(directory: str) -> Mapping[str, Any]:
    """What is known of the commit that was taken over last, beside its mirror; nothing where none was."""
    with suppress(OSError, ValueError), open(os.path.join(directory, GOOD), encoding="utf-8") as file:
        facts = json.load(file)
        return facts if isinstance(facts, dict) else {}
    return {}


def facts_of(commit: Commit, repository: Repository) -> dict[str, Any]:
    """What an attempt remembers of its commit."""
    return {**commit._asdict(), "url": repository.url, "branch": repository.branch, "path": repository.path}


def id_of(place: Place) -> str:
    return str(place.commit["id"]) if place.commit else ""


class Several:
    """All of them; one that fails leaves the others alone, but at the beginning."""

    moving = False

    def __init__(self, sources: Sequence[Folder | Git]) -> None:
        self.sources = sources
        self.problems: dict[str, str] = {}
        self.before: dict[str, Sequence[Place]] = {}

    def look(self) -> Sequence[Place]:
        found: dict[str, Place] = {}
        problems: dict[str, str] = {}
        for source in self.sources:
            try:
                places = self.before[source.name] = source.look()
            except UserError as problem:
                if source.name not in self.before:
                    raise
                places = self.before[source.name]
                problems[source.name] = str(problem)
            for place in places:
                if found.setdefault(place.name, place) is not place:
                    other = found[place.name].directory
                    problems[place.name] = f"{other} and {place.directory} would be one project; rename one of them"
            problems.update(source.problems)
        self.problems = problems
        return list(found.values())

    def taken(self, place: Place) -> None:
        for source in self.sources:
            source.taken(place)

    def last_good(self, name: str) -> Place | None:
        return next((good for source in self.sources if (good := source.last_good(name))), None)

    def keep(self, commits: Collection[str]) -> None:
        for source in self.sources:
            source.keep(commits)

    def tell(self, place: Place, refusal: str | None) -> None:
        for source in self.sources:
            source.tell(place, refusal)

    def close(self) -> None:
        for source in self.sources:
            source.close()


def read_list(path: str, state_dir: str, tokens: Tokens) -> Several:
    """The sources that `projects.yaml` names. Raises UserError, WorkflowError.

    projects:
      etl: {git: "https://…", branch: main, path: jobs, every: 60s}
      local: {dir: ../reports}
    """
    try:
        with open(path, encoding="utf-8") as file:
            text = file.read()
    except (OSError, UnicodeDecodeError) as problem:
        raise UserError(
            f"{path} can't be read: {problem}\n  write it as text in UTF-8, with the rights to read it"
        ) from None
    listed = load(text, path, None)
    wanted = listed.get("projects")
    if not isinstance(wanted, Map) or not wanted:
        raise UserError(
            f"{place_in(listed, 'projects')}: projects must be a map of names\n  projects: {{etl: {{git: 'https://…'}}}}"
        )
    top = os.path.dirname(os.path.abspath(path))
    sources = [source_of(place_in(wanted, name), name, entry, top, state_dir, tokens) for name, entry in wanted.items()]
    return Several(sources)


def place_in(listed: Map, key: str) -> str:
    return ":".join(str(part) for part in listed.place(key) if part is not None)


def source_of(at: str, name: str, entry: Any, top: str, state_dir: str, tokens: Tokens) -> Folder | Git:
    if not isinstance(entry, Mapping) or ("git" in entry) == ("dir" in entry):
        raise UserError(f"{at}: {name}: needs either git or dir\n  {name}: {{git: 'https://…', branch: main}}")
    unknown = [key for key in entry if key not in ("git", "dir", "branch", "path", "every")]
    if unknown:
        raise UserError(f"{at}: {name}: unknown key {', '.join(unknown)}; known are git, dir, branch, path, every")
    if not name or "/" in name or name.startswith("."):
        raise UserError(f"{at}: {name!r} is no name of a project: no slashes, and no dot at the beginning")
    options = Params(entry)
    try:
        if "dir" in entry:
            directory = os.path.join(top, options.text("dir"))
            if not os.path.isdir(directory):
                raise NotFound("directory", directory, hint=f"{at} names it")
            return Folder(directory, name)
        return git_source(
            name, options.text("git"), state_dir, branch=options.text("branch", None), path=options.text("path", ""),
            every=options.duration("every", EVERY_SECONDS), token=tokens.get(name),
        )  # fmt: skip
    except TaskFailed as problem:
        raise UserError(f"{at}: {name}: {problem}") from None


def git_source(
    name: str, url: str, state_dir: str, *, branch: str | None, path: str, every: float, token: str | None
) -> Git:
    return Git(name, url, os.path.join(state_dir, "git"), branch=branch, path=path, every=max(1.0, every), token=token)


class Tokens(NamedTuple):
    """The passwords of repositories, by project: the secret `git.<name>.token`, else the setting of that name."""

    secret: Callable[[str], str | None]
    settings: Mapping[str, Any]

    def get(self, name: str) -> str | None:
        key = f"git.{name}.token"
        value: str | None = self.secret(key) or self.settings.get(key)
        return value


def name_of_url(url: str) -> str:
    """`https://host/team/etl.git` is called etl."""
    last = url.rstrip("/").rpartition("/")[2].rpartition(":")[2]
    return last.removesuffix(".git") or "default"
