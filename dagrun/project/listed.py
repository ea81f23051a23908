"""The projects that `projects.yaml` lists, while it changes: taken over as a whole, or refused, and those of before go on.

The daemon's source. It neither reads the list nor knows what a project is: `sources.py` does.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Collection, Sequence
from math import inf

from dagrun.errors import UserError
from dagrun.project.sources import EVERY_SECONDS, LIST, Git, Place, Several
from dagrun.project.synced import forget_status


class Listed:
    """What `read` gives, and gives anew when the file at `path` has changed, come or gone."""

    def __init__(self, path: str, read: Callable[[], Several]) -> None:
        self.path = path
        self.read = read
        self.stamp = self.seen = stamp_of(path)
        self.now = read()
        self.coming: Coming | None = None
        self.again_at = inf  # after a fetch that failed
        self.refusal: dict[str, str] = {}
        self.problems: dict[str, str] = {}

    @property
    def moving(self) -> bool:
        """There is a change of which something comes soon."""
        return self.seen != self.stamp or self.coming is not None

    def look(self) -> Sequence[Place]:
        if self.coming is None and self.has_changed():
            self.begin()
        if self.coming is not None and not self.coming.is_alive():
            self.end(self.coming)
        places = self.now.look()
        self.problems = {**self.now.problems, **self.refusal}
        return places

    def has_changed(self) -> bool:
        """It has, and keeps still again; or it is time for another try."""
        before, self.seen = self.seen, stamp_of(self.path)
        return (self.seen == before and self.seen != self.stamp) or time.monotonic() >= self.again_at

    def begin(self) -> None:
        self.stamp, self.again_at = self.seen, inf
        try:
            self.coming = Coming(self.read(), self.now)
        except UserError as problem:
            self.refuse(problem)

    def end(self, coming: Coming) -> None:
        self.coming = None
        if coming.problem is not None:
            self.again_at = time.monotonic() + EVERY_SECONDS
            self.refuse(coming.problem)
            return
        for source in self.now.sources:
            if source not in coming.several.sources:
                source.close()
                if isinstance(source, Git):
                    forget_status(source.directory)
        self.now, self.refusal = coming.several, {}

    def refuse(self, problem: UserError) -> None:
        self.refusal = {LIST: f"not taken over, the list of before goes on:\n{problem}"}

    # -- for those that are listed now

    def taken(self, place: Place) -> None:
        self.now.taken(place)

    def last_good(self, name: str) -> Place | None:
        return self.now.last_good(name)

    def keep(self, commits: Collection[str]) -> None:
        if self.coming is None:
            self.now.keep(commits)

    def tell(self, place: Place, refusal: str | None) -> None:
        self.now.tell(place, refusal)

    def close(self) -> None:
        self.now.close()
        if self.coming is not None:
            self.coming.close()


class Coming(threading.Thread):
    """A list whose new projects are looked at; in a thread where repositories are among them, so that nobody waits for these.

    A project that is listed as before has the source of before.
    """

    def __init__(self, several: Several, before: Several) -> None:
        super().__init__(name=LIST, daemon=True)
        known = {source.key: source for source in before.sources}
        self.several = Several([known.get(source.key, source) for source in several.sources])
        self.several.before = dict(before.before)
        self.new = [source for source in self.several.sources if source.key not in known]
        self.problem: UserError | None = None
        for source in before.sources:
            if isinstance(source, Git):
                source.keep_all()
        if any(isinstance(source, Git) for source in self.new):
            self.start()
        else:
            self.run()

    def run(self) -> None:
        try:
            for source in self.new:
                source.look()
        except UserError as problem:
            self.problem = problem
            self.close()

    def close(self) -> None:
        for source in self.new:
            source.close()


def stamp_of(path: str) -> tuple[int, ...] | None:
    """Another one when the file has changed; None where there is none."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_ino
