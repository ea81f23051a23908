"""Directories for a container that runs as somebody else than we."""

from __future__ import annotations

import os
import stat

from dagrun.plugins.executor import Launch

_FOR_ALL = stat.S_IRUSR | stat.S_IRGRP | stat.S_IROTH | stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH
_TO_ENTER = stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH


def open_up(launch: Launch) -> None:
    """Its user may read and write the workspace and the try's own directory; other users of this machine may not.

    Mounted directories are reached from inside without their parents, which are closed to everybody else.
    """
    os.chmod(os.path.dirname(launch.io), stat.S_IRWXU)
    open_tree(launch.io)
    if os.path.dirname(launch.workspace) == os.path.dirname(launch.io):  # the try's own; others belong to people
        open_tree(launch.workspace)


def open_tree(top: str) -> None:
    os.chmod(top, _FOR_ALL | _TO_ENTER)
    for directory, names, files in os.walk(top):
        for name in names:
            path = os.path.join(directory, name)
            if not os.path.islink(path):
                os.chmod(path, _FOR_ALL | _TO_ENTER)
        for name in files:
            path = os.path.join(directory, name)
            if not os.path.islink(path):
                os.chmod(path, _FOR_ALL | (os.stat(path).st_mode & _TO_ENTER))
