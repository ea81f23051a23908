"""A remote git repository: a mirror of one branch of it, and the files of its commits, by the `git` program (2.31 or newer).

    <directory>/mirror.git           bare; its one ref is what was fetched last
    <directory>/trees/<commit>/      the files of that commit, whole or not there
    <directory>/*.lock               flocks: one process at a time changes the mirror, one the trees

A kill at any moment leaves `*.part` directories, lock files and halves of packs: whoever holds the flock next removes them,
and a mirror that lacks anything is made anew beside the old one. A directory belongs to one URL and branch.

Credentials travel in the environment of git only. `dagrun.project.git` doesn't know when to fetch, nor what a workflow is.
"""

from __future__ import annotations

import fcntl
import os
import posixpath
import re
import shutil
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from secrets import token_hex

from dagrun.errors import Conflict, NotFound, UserError
from dagrun.light import NamedTuple
from dagrun.project.git_program import (
    Ended,
    address_of,
    ask_nothing,
    environment_of,
    is_no_damage,
    refusal,
    run,
    text_of,
)

DAMAGED = "damaged"  # a file in a mirror that git failed to read


class Commit(NamedTuple):
    id: str  # the full hash
    author: str  # Name <mail>
    date: int  # when it was committed, in microseconds since 1970 UTC
    subject: str


class Repository:
    """One branch of a remote repository: the one that is named, else the one that the remote's HEAD names.

    `path` is the directory inside of the repository that counts. `seconds` is the limit of each call of git. A `token` is the
    password for http(s); the user name is the URL's. Raises UserError for a URL that git must not be given.
    """

    def __init__(
        self,
        url: str,
        directory: str,
        *,
        branch: str | None = None,
        path: str = "",
        seconds: float = 60.0,
        token: str | None = None,
    ) -> None:
        self._address = address_of(url, token)
        self.url = self._address.shown
        self.directory = os.path.abspath(directory)
        self.branch = branch
        self.path = path
        self.seconds = seconds
        self._mirror = os.path.join(self.directory, "mirror.git")
        self._trees = os.path.join(self.directory, "trees")

    def fetch(self) -> Commit:
        """The mirror holds the newest commit of the branch, which is returned.

        Raises UserError for whatever keeps git from it, NotFound for the branch, Conflict while others fetch for too long.
        """
        with self._locked("mirror.git"):
            source, newest = self._remote_head()
            known = self._newest(self._mirror)
            if known is None or known.id != newest:
                known = self._update(source) or self._remake(source, newest)
            return known

    def tree(self, commit_id: str) -> str:
        """The directory with the files of the commit, or of `path` in it. Raises NotFound, UserError."""
        target = os.path.join(self._trees, full_id(commit_id))
        if not os.path.isdir(target):
            with self._locked("trees"):
                if not os.path.isdir(target):
                    self._check_out(commit_id, target)
        return self._folder(target, commit_id)

    def commit(self, commit_id: str) -> Commit:
        """What is known of the commit. Raises NotFound."""
        self._require(commit_id)
        return self._show(commit_id)

    def changes(self, old: str, new: str) -> list[str]:
        """`M path`, `A path`, `D path`, `T path` (file or link) and `R old → new`, below `path`, seen from the top.

        Raises NotFound for a commit that the mirror doesn't know, or no longer.
        """
        lines = []
        for line in self._compare(old, new, "--name-status").split("\n"):
            if line:
                status, *names = line.split("\t")
                lines.append(f"{status[0]} {' → '.join(names)}")
        return lines

    def diff(self, old: str, new: str) -> str:
        """The unified diff of what is below `path`. Raises NotFound for a commit that the mirror doesn't know."""
        prefixes = ("--src-prefix=a/", "--dst-prefix=b/")
        return self._compare(old, new, "--patch", "--no-color", "--no-ext-diff", "--no-textconv", *prefixes)

    def remove_trees(self, keep: Collection[str]) -> None:
        """No trees are left but those of the commits to keep."""
        with self._locked("trees"):
            for name in os.listdir(self._trees):
                if name not in keep:
                    discard(os.path.join(self._trees, name))

    # -- the remote

    def _remote_head(self) -> tuple[str, str]:
        """The remote's ref that is to be fetched, and the commit that it is at. Raises UserError, NotFound."""
        name = "HEAD" if self.branch is None else f"refs/heads/{self.branch}"
        if self._run("check-ref-format", "--allow-onelevel", name).code:
            raise UserError(f"{self.branch!r} can't be the name of a branch\n  name one that {self.url} has")
        refs = self._remote_refs(name)
        if name in refs:
            return name, refs[name]
        branches = [ref.removeprefix("refs/heads/") for ref in self._remote_refs("refs/heads/*")]
        if not branches:
            raise UserError(f"{self.url} has no commit yet\n  push one to it")
        if self.branch is None:
            some = ", ".join(branches[:10])
            raise UserError(f"the HEAD of {self.url} names a branch that isn't there\n  name one that is: {some}")
        raise NotFound("branch", self.branch, branches, f"{self.url} doesn't have it, or no longer: name another")

    def _remote_refs(self, pattern: str) -> dict[str, str]:
        ended = self._run("ls-remote", "--", self._address.url, pattern, online=True)
        if ended.code:
            raise refusal(self.url, self._words(ended))
        lines = [line.split("\t") for line in text_of(ended.output).split("\n") if line]
        return {name: commit_id for commit_id, name in lines}

    # -- the mirror

    def _newest(self, mirror: str) -> Commit | None:
        """What was fetched last; None unless each object of that commit is there."""
        if not is_usable(mirror):
            return None
        if self._run("rev-list", "--objects", "--quiet", "--max-count=1", "HEAD", "--", mirror=mirror).code:
            return None
        with suppress(UserError):
            return self._show("HEAD", mirror)
        return None

    def _update(self, source: str) -> Commit | None:
        """What the mirror holds after a fetch; None if it is in no state to be fetched into."""
        if not is_usable(self._mirror):
            return None
        sweep(self._mirror)
        if self._fetch_into(self._mirror, source).code:
            return None
        with suppress(UserError):  # out of time: what it would save isn't worth an error
            self._run("gc", "--auto", "--quiet", mirror=self._mirror)
        return self._newest(self._mirror)

    def _remake(self, source: str, newest: str) -> Commit:
        """A new mirror stands in the place of the old one, which stays if the new one can't be had."""
        part = part_of(self._mirror)
        kind = "sha256" if len(newest) == 64 else "sha1"
        try:
            options = ("--quiet", "--bare", "--template=", f"--object-format={kind}", "--initial-branch=fetched")
            made = self._run("init", *options, "--", part)
            fetched = made if made.code else self._fetch_into(part, source)
            if fetched.code:
                raise refusal(self.url, self._words(fetched))
            commit = self._show("HEAD", part)
            discard(self._mirror)
            os.rename(part, self._mirror)
            return commit
        finally:
            shutil.rmtree(part, ignore_errors=True)

    def _fetch_into(self, mirror: str, source: str) -> Ended:
        options = ("--quiet", "--prune", "--no-tags", "--no-recurse-submodules", "--no-auto-gc")
        # One ref whatever the branch is called: `a` that became `a/b` is no conflict, a renamed default branch no leftover.
        refspec = f"+{source}:refs/heads/fetched"
        return self._run("fetch", *options, "--", self._address.url, refspec, mirror=mirror, online=True)

    def _require(self, commit_id: str) -> None:
        """The mirror has the commit. Raises NotFound."""
        known = full_id(commit_id)
        there = os.path.isdir(self._mirror)
        if not there or self._run("cat-file", "-e", f"{known}^{{commit}}", mirror=self._mirror).code:
            hint = f"not fetched yet, or gone from {self.url} after a forced push; fetch again"
            raise NotFound("commit", commit_id, hint=hint)

    def _show(self, revision: str, mirror: str | None = None) -> Commit:
        form = "--format=%H%x00%an <%ae>%x00%ct%x00%s"
        text = text_of(self._read("log", "--max-count=1", form, revision, "--", mirror=mirror or self._mirror))
        commit_id, author, date, subject = text.removesuffix("\n").split("\0")
        return Commit(commit_id, author, int(date or 0) * 1_000_000, subject)

    def _compare(self, old: str, new: str, *options: str) -> str:
        self._require(old)
        self._require(new)
        paths = {self._leads_to(old), self._leads_to(new)}
        limits = [] if "" in paths else sorted(paths)
        return text_of(self._read("diff-tree", "-r", "-M", *options, old, new, "--", *limits))

    def _leads_to(self, commit_id: str) -> str:
        """Where `path` leads in the commit, links followed; itself if that is nowhere."""
        done, todo = "", self._inside().split("/")
        for _ in range(60):  # more are links that lead to each other
            if not todo or todo[0] in ("..", ""):
                break
            here = posixpath.join(done, todo.pop(0))
            mode, _, name = text_of(self._read("ls-tree", "--full-tree", commit_id, "--", here)).partition(" ")
            if mode == "120000":
                link = os.fsdecode(self._read("cat-file", "blob", name.split()[1]))
                target = posixpath.normpath(posixpath.join(posixpath.dirname(here), link))
                done, todo = "", [*(part for part in target.split("/") if part != "."), *todo]
            else:
                done = here
        return self._inside() if todo else done

    # -- trees

    def _check_out(self, commit_id: str, target: str) -> None:
        """The tree is there. By read-tree and not by archive: that would obey export-ignore and export-subst."""
        self._require(commit_id)
        part = part_of(target)
        files = os.path.join(part, "files")
        try:
            os.makedirs(files)
            variables = {"GIT_INDEX_FILE": os.path.join(part, "index")}
            self._read(f"--work-tree={files}", "read-tree", "--reset", "-u", commit_id, variables=variables)
            os.rename(files, target)
        finally:
            shutil.rmtree(part, ignore_errors=True)

    def _folder(self, target: str, commit_id: str) -> str:
        """`path` in a tree. Looks at the files and not at the mirror, which may no longer know the commit."""
        path = self._inside()
        folder = os.path.join(target, path) if path else target
        real = os.path.relpath(os.path.realpath(folder), os.path.realpath(target))
        if real == ".." or real.startswith("../"):
            raise UserError(
                f"{path} leads out of {self.url}, through a link in it\n  name a directory that lies inside"
            )
        submodules = [name for name in self._submodules(target) if overlap(name, real)]
        if submodules:
            hint = "copy their files into the repository, or name a path without them"
            raise UserError(f"submodules are not fetched: {', '.join(submodules)} in {self.url}\n  {hint}")
        if not os.path.exists(folder):
            raise NotFound("directory", path, hint=f"commit {commit_id} of {self.url} doesn't have it")
        if not os.path.isdir(folder):
            raise UserError(f"{path} in commit {commit_id} of {self.url} is a file\n  name a directory")
        return folder

    def _inside(self) -> str:
        """`path`, without needless slashes and dots. Raises UserError when it isn't one inside of a repository."""
        parts = [part for part in self.path.split("/") if part not in ("", ".")]
        if self.path.startswith("/") or ".." in parts or "\0" in self.path:
            raise UserError(f"{self.path!r} is no path inside of a repository\n  name one from its top, without '..'")
        return "/".join(parts)

    def _submodules(self, target: str) -> list[str]:
        file = os.path.join(target, ".gitmodules")
        if os.path.islink(file) or not os.path.isfile(file):
            return []
        ended = self._run("config", "--file", file, "--null", "--get-regexp", r"^submodule\..*\.path$")
        if ended.code not in (0, 1):  # 1: none
            raise UserError(f"the file .gitmodules of {self.url} is wrong\n  git says: {self._words(ended)}")
        return [posixpath.normpath(entry.partition("\n")[2]) for entry in text_of(ended.output).split("\0") if entry]

    # -- calling git

    def _read(self, *arguments: str, mirror: str | None = None, variables: Mapping[str, str] | None = None) -> bytes:
        """What git prints. When it fails with what should be there, the next fetch makes the mirror anew."""
        place = mirror or self._mirror
        ended = self._run(*arguments, mirror=place, variables=variables)
        if ended.code and is_no_damage(ended.words):
            raise refusal(self.url, self._words(ended))
        if ended.code:
            with suppress(OSError), open(os.path.join(place, DAMAGED), "w"):
                pass
            hint = "fetch again: it is made anew then"
            raise UserError(f"the mirror of {self.url} can't be read\n  {hint}\n  git says: {self._words(ended)}")
        return ended.output

    def _run(
        self,
        *arguments: str,
        mirror: str | None = None,
        online: bool = False,
        variables: Mapping[str, str] | None = None,
    ) -> Ended:
        """What git answers, in the directory of the repository. Raises UserError: no git, out of time."""
        environment = environment_of(self.directory) | dict(variables or {})
        if online:
            environment |= self._address.variables(environment)
            if self._run("config", "core.sshCommand").code:
                ask_nothing(environment)
        place = [f"--git-dir={mirror}"] if mirror else []
        try:
            return run([*place, *arguments], environment, self.directory, self.seconds)
        except TimeoutError:
            command = next(word for word in arguments if not word.startswith("-"))
            hint = "look at the network, or allow more time"
            raise UserError(f"{self.url}: git {command} took longer than {self.seconds:g} s\n  {hint}") from None

    def _words(self, ended: Ended) -> str:
        return self._address.hide(ended.words)

    @contextmanager
    def _locked(self, name: str) -> Iterator[None]:
        """Alone with `name` in the directory, and without what others left there. Raises Conflict, UserError."""
        fd = None
        try:
            os.makedirs(self._trees, exist_ok=True)
            fd = os.open(os.path.join(self.directory, f"{name}.lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            if not take(fd, self.seconds):
                hint = "try again when it is done"
                raise Conflict(f"{self.url}: another process has been at work on {self.directory} for long\n  {hint}")
            remove_parts(self._trees if name == "trees" else self.directory)
            yield
        except OSError as problem:
            place = problem.filename or self.directory
            raise UserError(
                f"{place} can't be written: {problem.strerror}\n  mend its rights, or make room"
            ) from problem
        finally:
            if fd is not None:
                os.close(fd)


# -- files and names


def full_id(commit_id: str) -> str:
    """Raises NotFound for what isn't the whole hash of a commit; so that it can be the name of a directory, too."""
    if not re.fullmatch(r"[0-9a-f]{40}|[0-9a-f]{64}", commit_id):
        raise NotFound("commit", commit_id, hint="give its full hash")
    return commit_id


def overlap(submodule: str, folder: str) -> bool:
    return folder == "." or f"{submodule}/".startswith(f"{folder}/") or f"{folder}/".startswith(f"{submodule}/")


def take(fd: int, seconds: float) -> bool:
    """The flock is ours, unless somebody else keeps it for that long."""
    end = time.monotonic() + seconds
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            if time.monotonic() > end:
                return False
            time.sleep(0.02)  # flock itself has no limit


def is_usable(mirror: str) -> bool:
    return os.path.isdir(mirror) and not os.path.exists(os.path.join(mirror, DAMAGED))


def sweep(mirror: str) -> None:
    """What a killed git left in a mirror is gone: lock files, and packs that were not finished.

    Only for whoever holds the flock. A git that outlives a killed dagrun loses its own files by this: it ends with an error, or
    leaves a mirror that the next fetch finds incomplete.
    """
    for folder, folders, names in os.walk(mirror):
        for name in [*names, *folders]:
            stem, suffix = os.path.splitext(name)
            half = suffix == ".pack" and f"{stem}.idx" not in names  # git writes the index last
            if half or suffix in (".lock", ".keep") or name.startswith("tmp_"):
                remove(os.path.join(folder, name))


def remove(path: str) -> None:
    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(FileNotFoundError):
            os.unlink(path)


def remove_parts(directory: str) -> None:
    for name in os.listdir(directory):
        if name.endswith(".part"):
            remove(os.path.join(directory, name))


def part_of(path: str) -> str:
    return f"{path}.{token_hex(8)}.part"


def discard(path: str) -> None:
    """The directory is gone, in one move: a kill while its files are deleted doesn't leave half of it in its place."""
    part = part_of(path)
    with suppress(FileNotFoundError):
        os.rename(path, part)
        remove(part)
