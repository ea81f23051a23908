"""Files from task to task where some tasks are containers and others processes, with engines near and far."""

from __future__ import annotations

import pytest

from tests import containers
from tests.docker.yard import Yard

CHAIN = """
+make: {sh>: "mkdir d; echo made >d/x", _docker: busybox, _outputs: [d/]}
+use: {sh>: 'cat in/d/x ${+make.file("d/x")}; echo more >y', _docker: busybox, _inputs: {+make: in}, _outputs: [y]}
+end: {sh>: 'cat ${+use.file("y")} ${+make.file("d/x")}'}
"""


@pytest.mark.parametrize("place", ["near", "far"])
def test_containers_and_processes_hand_files_on(yard: Yard, place: str):
    yard.host = containers.remote() if place == "far" else containers.engine()
    printed = yard.ran(CHAIN)
    assert printed.count("made\n") == 3
    assert printed.count("more\n") == 1
    assert yard.is_clean()
