"""The unit of docs/systemd.md, read from the document: this starts, stops and restarts it as systemd would."""

from __future__ import annotations

import re
import shlex
import signal
import subprocess
from configparser import RawConfigParser
from pathlib import Path

import pytest

from dagrun.core.kinds import to_seconds
from dagrun.engine.daemon import Lock
from tests.daemon.site import DAGRUN, Site
from tests.missing import need

DOCUMENT = Path(__file__).parents[2] / "docs" / "systemd.md"
EACH = "{seconds_interval>: 1, overlap: skip}"
MINUTES = re.compile(r"(\d+)min\Z")


def unit_text() -> str:
    found = re.search(r"```ini\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)
    assert found
    return found[1]


class Systemd:
    """What systemd does with the service; only what the unit asks for."""

    def __init__(self, site: Site) -> None:
        parser = RawConfigParser()
        parser.optionxform = str  # type: ignore[assignment, method-assign]
        parser.read_string(unit_text())
        self.service = dict(parser["Service"])
        self.site = site
        site.more_environment = {"PATH": f"{Path(DAGRUN).parent}:/usr/bin:/bin"}

    @property
    def words(self) -> list[str]:
        program, *words = shlex.split(self.service["ExecStart"])
        assert Path(program).name == "dagrun"
        place = self.service["WorkingDirectory"]
        return [str(self.site.directory) if word == place else word for word in words]

    def option(self, name: str) -> str:
        return self.words[self.words.index(name) + 1]

    def start(self) -> None:
        first, *words = self.words
        assert (self.service["Type"], first) == ("simple", "schedule")
        self.site.schedule(*words)

    def stop(self) -> int:
        """KillMode=process: the main process gets the signal, and nobody else."""
        assert (self.service["KillMode"], self.service["KillSignal"]) == ("process", "SIGTERM")
        assert self.site.process is not None
        self.site.process.send_signal(signal.SIGTERM)
        return self.site.process.wait(30)

    def restarts(self, code: int) -> bool:
        """Restart=on-failure: an exit code but 0 that isn't named, or a signal but HUP, INT, TERM and PIPE."""
        assert self.service["Restart"] == "on-failure"
        named = [int(word) for word in self.service["RestartPreventExitStatus"].split()]
        gentle = [-number for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM, signal.SIGPIPE)]
        return code not in (0, *named, *gentle)


@pytest.fixture
def systemd(site) -> Systemd:
    return Systemd(site)


def test_it_waits_longer_for_the_daemon_than_the_daemon_for_its_tasks(systemd):
    minutes = MINUTES.match(systemd.service["TimeoutStopSec"])
    assert minutes and int(minutes[1]) * 60 >= to_seconds(systemd.option("--grace")) + 30


def test_a_stop_is_clean_and_a_start_goes_on(site, systemd):
    site.workflow("wf", EACH, "do: busy wf ${session_unixtime} 0.3")
    systemd.start()
    site.told("end", times=2)
    assert not systemd.restarts(systemd.stop())
    assert site.processes() == {}
    systemd.start()
    site.told("end", times=len(site.notes("end")) + 2)
    assert not systemd.restarts(systemd.stop())
    assert len({note.task for note in site.notes("start")}) == len(site.notes("start")) == len(site.notes("end"))


def test_tasks_live_through_a_restart_after_a_crash(site, systemd):
    site.workflow("wf", EACH, "do: gate a")
    systemd.start()
    site.told("start", "a")
    site.die()
    assert systemd.restarts(site.process.returncode)
    assert not site.is_free("a")
    systemd.start()
    (site.place / "a.open").touch()
    assert site.ended(1)[0].attempt.state == "success"
    assert site.tries(1) == [("success", 0)]


def test_when_systemd_loses_patience_the_task_lives_on(site, systemd):
    """TERM, and after TimeoutStopSec KILL, both for the main process only."""
    site.workflow("wf", EACH, "do: gate a")
    systemd.start()
    site.told("start", "a")
    site.process.send_signal(signal.SIGTERM)
    site.hears("stopping: 1 task at work, at most 600 s more")
    site.die()
    assert not site.is_free("a")
    (site.place / "a.open").touch()
    site.told("end", "a")
    systemd.start()
    assert site.ended(1)[0].attempt.state == "success"


def test_a_broken_project_is_tried_again_and_a_second_daemon_is_not(site, systemd):
    site.directory.joinpath("wf.dig").write_text("+a:\n  sh>: true\n  +b:\n    sh>: true\n")
    site.refused(*systemd.words[1:], code=2)
    assert systemd.restarts(2)
    site.workflow("wf", EACH, "echo>: hello")
    lock = Lock(str(site.state))
    site.refused(*systemd.words[1:], code=4)
    lock.release()
    assert not systemd.restarts(4)


def test_systemd_itself_finds_nothing_wrong(site, tmp_path):
    need("systemd-analyze")
    text = unit_text().replace("/opt/dagrun/bin/dagrun", DAGRUN).replace("User=dagrun", "User=root")
    unit = tmp_path / "dagrun.service"
    unit.write_text(text.replace("/srv/projects", str(site.directory)))
    ended = subprocess.run(["systemd-analyze", "verify", unit], capture_output=True, text=True, timeout=60, check=False)
    ours = [line for line in (ended.stdout + ended.stderr).splitlines() if "dagrun.service" in line]
    assert ours == []
