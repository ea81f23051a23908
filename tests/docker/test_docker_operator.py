"""docker>: an image's own command, and others, with a real engine."""

from __future__ import annotations

from tests import containers
from tests.docker.yard import Yard


def test_the_image_s_own_command_runs(yard: Yard):
    containers.docker("build", "-t", "greets", "-", stdin=b'FROM busybox\nCMD ["echo", "greetings"]\n')
    assert "greetings\n" in yard.ran("+a: {docker>: greets}")


def test_a_command_may_be_given(yard: Yard):
    printed = yard.ran(
        """
+a:
  docker>: busybox
  command: |
    grep -o '"n": 3' $DAGRUN_IN; echo '{"m":5}' >$DAGRUN_OUT; cat w.dig | head -c 2
  n: 3
+b: {echo>: "m is ${m}"}
+c: {docker>: busybox, command: [echo, "$HOME", "a b"], mem: 64m}
"""
    )
    assert '"n": 3\n' in printed
    assert "m is 5\n" in printed
    assert "$HOME a b\n" in printed
    assert yard.is_clean()
