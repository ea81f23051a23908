"""Directories for a container that runs as somebody else than we."""

from __future__ import annotations

import os
import stat
from contextlib import suppress

from dagrun.executors.docker.client import Client
from dagrun.plugins.executor import Launch

_FOR_ALL = stat.S_IRUSR | stat.S_IRGRP | stat.S_IROTH | stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH
_TO_ENTER = stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH


def open_up(launch: Launch) -> None:
    """Its user may read and write the workspace and the try's own directory; other users of this machine may not.

    Mounted directories are reached from inside without their parents, of which the uppermost one that is ours is closed to
    everybody else.
    """
    os.chmod(work(launch), stat.S_IRWXU)
    for directory in ours(launch):
        open_tree(directory)


def take_back(launch: Launch, client: Client, image: str, owner: str) -> None:
    """What it left there is its owner's, if the image has `chown`: else nobody of us could read or remove it."""
    mounts = [word for directory in ours(launch) for word in ("-v", f"{directory}:{directory}")]
    options = ["--rm", "--user", "0", "--network", "none", "--entrypoint", "chown"]
    client.run(["run", *options, *mounts, image, "-R", owner, *ours(launch)])


def ours(launch: Launch) -> list[str]:
    """The try's own directories, and its attempt's; others belong to people."""
    return [one for one in (launch.io, launch.workspace) if one.startswith(f"{work(launch)}/")]


def work(launch: Launch) -> str:
    return os.path.dirname(os.path.dirname(launch.io))


def open_tree(top: str) -> None:
    """What belongs to somebody else was made in a container; what vanishes meanwhile is at work in another one.

    No link is ever followed, not even one that a container puts in the place of a file while we look.
    """
    for _, _, files, directory in os.fwalk(top):
        with suppress(PermissionError):
            os.fchmod(directory, _FOR_ALL | _TO_ENTER)
        for name in files:
            with suppress(OSError):
                open_file(name, directory)


def open_file(name: str, directory: int) -> None:
    if not stat.S_ISREG(os.stat(name, dir_fd=directory, follow_symlinks=False).st_mode):
        return
    fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=directory)
    try:
        os.fchmod(fd, _FOR_ALL | (os.fstat(fd).st_mode & _TO_ENTER))
    finally:
        os.close(fd)
