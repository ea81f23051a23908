"""Where the daemon's projects come from: a directory, folders of one, git repositories.

    look() -> the projects as they are now, and what is wrong with some of them (`problems`)

A repository is fetched by a thread of its own, so that a slow network never delays a schedule. What was fetched last goes on
when a fetch fails.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

from dagrun.core.config import Params
from dagrun.core.yaml import load
from dagrun.errors import NotFound, TaskFailed, UserError
from dagrun.project.git import Commit, Repository

LIST = "projects.yaml"
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
        self.problems: dict[str, str] = {}

    def look(self) -> Sequence[Place]:
        if has_workflows(self.directory):
            return [Place(self.name, self.directory)]
        folders = [
            Place(entry.name, entry.path)
            for entry in sorted(os.scandir(self.directory), key=lambda entry: entry.name)
            if entry.is_dir() and not entry.name.startswith(".") and has_workflows(entry.path)
        ]
        return folders or [Place(self.name, self.directory)]

    def close(self) -> None:
        pass


def has_workflows(directory: str) -> bool:
    try:
        return any(name.endswith(".dig") for name in os.listdir(directory))
    except OSError:
        return False


class Git:
    """A branch of a repository, fetched every so many seconds and when `sync` asks for it."""

    def __init__(
        self, name: str, url: str, directory: str, *, branch: str | None, path: str, every: float, token: str | None
    ) -> None:
        self.name = name
        self.every = every
        self.problems: dict[str, str] = {}
        self.repository = Repository(url, os.path.join(directory, name), branch=branch, path=path, token=token)
        self.wish = os.path.join(directory, name, "sync")
        self.used: set[str] = set()  # commits that attempts still run on
        self.place: Place | None = None
        self.asked = self.asked_at()
        self.ended = threading.Event()
        self.wake = threading.Event()
        self.thread: threading.Thread | None = None

    def look(self) -> Sequence[Place]:
        """The first time it fetches; a repository that can't be fetched then is refused."""
        if self.thread is None:
            self.fetch()
            if self.place is None:
                raise UserError(self.problems[self.name])
            self.thread = threading.Thread(target=self.keep_fetching, name=f"git-{self.name}", daemon=True)
            self.thread.start()
        if self.asked_at() != self.asked:
            self.asked = self.asked_at()
            self.wake.set()
        return [self.place] if self.place else []

    def asked_at(self) -> float:
        try:
            return os.stat(self.wish).st_mtime
        except OSError:
            return 0.0

    def keep_fetching(self) -> None:
        while not self.ended.is_set():
            self.wake.wait(self.every)
            self.wake.clear()
            if not self.ended.is_set():
                self.fetch()

    def fetch(self) -> None:
        try:
            commit = self.repository.fetch()
            self.place = Place(self.name, self.repository.tree(commit.id), facts_of(commit, self.repository))
            self.problems.pop(self.name, None)
        except UserError as problem:
            word = "can't be fetched" if self.place is None else "can't be fetched; the last good commit goes on"
            self.problems[self.name] = f"{self.repository.url} {word}: {problem}"
        except Exception as problem:
            self.problems[self.name] = f"{self.repository.url}: {type(problem).__name__}: {problem}"

    def forget_trees(self, used: Collection[str]) -> None:
        current = self.place.commit["id"] if self.place and self.place.commit else ""
        self.repository.remove_trees({*used, current})

    def close(self) -> None:
        self.ended.set()
        self.wake.set()


def facts_of(commit: Commit, repository: Repository) -> dict[str, Any]:
    """What an attempt remembers of its commit."""
    return {**commit._asdict(), "url": repository.url, "branch": repository.branch, "path": repository.path}


class Several:
    """All of them; one that fails leaves the others alone."""

    def __init__(self, sources: Sequence[Folder | Git]) -> None:
        self.sources = sources
        self.problems: dict[str, str] = {}

    def look(self) -> Sequence[Place]:
        found: list[Place] = []
        self.problems = {}
        for source in self.sources:
            found += source.look()
            self.problems.update(source.problems)
        return found

    def close(self) -> None:
        for source in self.sources:
            source.close()


def read_list(path: str, state_dir: str, tokens: Mapping[str, str]) -> Several:
    """The sources that `projects.yaml` names. Raises UserError, WorkflowError.

    projects:
      etl: {git: "https://…", branch: main, path: jobs, every: 60s}
      local: {dir: ../reports}
    """
    with open(path, encoding="utf-8") as file:
        listed = load(file.read(), path, None)
    wanted = listed.get("projects")
    if not isinstance(wanted, Mapping) or not wanted:
        raise UserError(f"{path}: projects must be a map of names\n  projects: {{etl: {{git: 'https://…'}}}}")
    top = os.path.dirname(os.path.abspath(path))
    return Several([source_of(path, name, entry, top, state_dir, tokens) for name, entry in wanted.items()])


def source_of(path: str, name: str, entry: Any, top: str, state_dir: str, tokens: Mapping[str, str]) -> Folder | Git:
    if not isinstance(entry, Mapping) or ("git" in entry) == ("dir" in entry):
        raise UserError(f"{path}: {name}: needs either git or dir\n  {name}: {{git: 'https://…', branch: main}}")
    unknown = [key for key in entry if key not in ("git", "dir", "branch", "path", "every")]
    if unknown:
        raise UserError(f"{path}: {name}: unknown key {', '.join(unknown)}; known are git, dir, branch, path, every")
    if not name or "/" in name or name.startswith("."):
        raise UserError(f"{path}: {name!r} is no name of a project: no slashes, and no dot at the beginning")
    options = Params(entry)
    try:
        if "dir" in entry:
            directory = os.path.join(top, options.text("dir"))
            if not os.path.isdir(directory):
                raise NotFound("directory", directory)
            return Folder(directory, name)
        return git_source(
            name, options.text("git"), state_dir, branch=options.text("branch", None), path=options.text("path", ""),
            every=options.duration("every", EVERY_SECONDS), token=tokens.get(name),
        )  # fmt: skip
    except TaskFailed as problem:
        raise UserError(f"{path}: {name}: {problem}") from None


def git_source(
    name: str, url: str, state_dir: str, *, branch: str | None, path: str, every: float, token: str | None
) -> Git:
    return Git(name, url, os.path.join(state_dir, "git"), branch=branch, path=path, every=max(1.0, every), token=token)


def name_of_url(url: str) -> str:
    """`https://host/team/etl.git` is called etl."""
    last = url.rstrip("/").rpartition("/")[2].rpartition(":")[2]
    return last.removesuffix(".git") or "default"
