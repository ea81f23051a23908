"""Changed files are taken over within two seconds, whole or not at all."""

from __future__ import annotations

import os
import time

import pytest

from tests.daemon.site import Site

SOON = 2.0  # seconds: the first tests see to it, the others hear what is said
NIGHTLY = '{daily>: "00:00:00"}'
EACH = "{seconds_interval>: 1, overlap: skip}"
BROKEN = "timezone: UTC\nschedule: {daily>: 07:00:00}\n+a:\n  sh>: true\n  +b:\n    sh>: true\n"


def schedules(site: Site) -> dict[str, int]:
    """Each schedule's id."""
    with site.store.reading() as tx:
        return {row.workflow: row.id for row in tx.list_schedules()}


def test_a_changed_file_is_taken_over_within_two_seconds(site):
    site.workflow("wf", EACH, "do: note old b")
    site.schedule()
    site.told("old")
    for word in ("new", "newer"):
        begun = time.monotonic()
        site.workflow("wf", EACH, f"do: note {word} b")
        site.hears("default: revision [0-9a-f]{12}, 1 workflows, 1 schedules", SOON - (time.monotonic() - begun))
        site.told(word)


def test_a_broken_file_is_refused_with_its_line_and_the_old_revision_goes_on(site):
    site.workflow("wf", EACH, "do: note old b")
    site.schedule()
    site.told("old")
    site.directory.joinpath("wf.dig").write_text(BROKEN)
    site.hears(r"default: not taken over, the revision of before goes on:\n.*wf\.dig:\d+", SOON)
    site.told("old", times=len(site.notes("old")) + 1)
    site.workflow("wf", EACH, "do: note new b")
    site.hears("default: revision", SOON)
    site.told("new")


def test_a_broken_file_is_told_once_and_its_way_back_too(site):
    site.workflow("wf", EACH, "do: note old b")
    before = site.directory.joinpath("wf.dig").read_text()
    site.schedule()
    for _ in range(2):
        site.directory.joinpath("wf.dig").write_text(BROKEN)
        site.hears("not taken over")
        site.directory.joinpath("wf.dig").write_text(before)
        site.hears("default: valid again")
    assert site.said().count("not taken over") == 2


def test_an_ignore_file_that_is_none_is_told_once_and_its_way_back_too(site):
    site.workflow("wf", EACH, "do: note old b")
    site.schedule()
    site.told("old")
    ignored = site.directory / ".dagrunignore"
    ignored.write_text("!\n")
    site.hears("default: .dagrunignore: Invalid git pattern", SOON)
    site.told("old", times=len(site.notes("old")) + 2)
    ignored.unlink()
    site.hears("default: valid again", SOON)
    assert site.said().count("Invalid git pattern") == 1


def test_one_broken_file_keeps_all_others_from_being_taken_over(site):
    site.workflow("a", EACH, "do: note old a")
    site.workflow("b", EACH, "echo>: hello")
    site.schedule()
    site.told("old")
    site.directory.joinpath("b.dig").write_text(BROKEN)
    site.workflow("a", EACH, "do: note new a")
    site.hears("not taken over")
    site.told("old", times=len(site.notes("old")) + 1)
    assert site.notes("new") == []


def test_a_new_workflow_begins_and_a_removed_one_ends(site):
    site.workflow("a", EACH, "do: note a a")
    site.schedule()
    site.told("a")
    site.workflow("b", EACH, "do: note b b")
    site.hears("2 workflows, 2 schedules")
    site.told("b")
    os.unlink(site.directory / "a.dig")
    site.hears("1 workflows, 1 schedules")
    count = len(site.seen("a"))
    site.told("b", times=len(site.notes("b")) + 1)
    assert len(site.seen("a")) == count
    assert set(schedules(site)) == {"b"}


def test_a_change_of_one_workflow_leaves_the_others_as_they_are(site):
    site.workflow("a", NIGHTLY, "echo>: hello")
    site.workflow("b", NIGHTLY, "echo>: hello")
    site.schedule()
    with site.store.transaction() as tx:
        (row,) = [row for row in tx.list_schedules() if row.workflow == "a"]
        kept = row._replace(last_session=row.next_session, disabled_at=tx.now)
        tx.save_schedule(kept)
    site.workflow("b", '{daily>: "01:00:00"}', "echo>: hello")
    site.hears("default: revision")
    with site.store.reading() as tx:
        (row,) = [row for row in tx.list_schedules() if row.workflow == "a"]
    assert (row.id, row.last_session, row.disabled_at) == (kept.id, kept.last_session, kept.disabled_at)


def test_an_end_that_is_moved_later_starts_nothing_that_lies_between(site):
    """The schedule was over when it was last looked at; sessions since then aren't made up for."""
    site.workflow("wf", '{daily>: "00:00:00", start: 2020-01-01, end: 2020-01-05}', "do: note ran b")
    site.workflow("tick", EACH, "do: note tick b")
    site.schedule()
    site.workflow("wf", '{daily>: "00:00:00", start: 2020-01-01, end: 2120-01-01}', "do: note ran b")
    site.hears("default: revision")
    site.told("tick", times=len(site.notes("tick")) + 1)
    assert site.seen("wf") == []
    with site.store.reading() as tx:
        (row,) = [row for row in tx.list_schedules() if row.workflow == "wf"]
        assert row.next_run > tx.now


# -- several projects


@pytest.fixture
def two(site) -> Site:
    for name in ("one", "two"):
        site.workflow(f"{name}/wf", EACH, f"do: note {name} b")
    return site


def test_of_two_projects_the_broken_one_keeps_its_revision_and_the_other_one_moves_on(two):
    two.schedule()
    two.told("one")
    two.told("two")
    two.directory.joinpath("one/wf.dig").write_text(BROKEN)
    two.hears(r"one: not taken over, the revision of before goes on:\n.*wf\.dig:\d+")
    two.workflow("two/wf", EACH, "do: note newer b")
    two.hears("two: revision")
    two.told("newer")
    two.told("one", times=len(two.notes("one")) + 1)


def test_a_project_comes_and_goes(two):
    two.schedule()
    two.told("one")
    two.workflow("three/wf", EACH, "do: note three b")
    two.hears("three: revision")
    two.told("three")
    two.directory.joinpath("one/wf.dig").unlink()
    two.hears("one: the project is gone; its schedules rest")
    count = len(two.notes("one"))
    two.told("three", times=len(two.notes("three")) + 1)
    assert len(two.notes("one")) <= count + 1
    two.workflow("one/wf", EACH, "do: note again b")
    two.hears("one: revision")
    two.told("again")


def test_a_new_project_that_is_broken_is_refused_alone(two):
    two.schedule()
    two.directory.joinpath("three").mkdir()
    two.directory.joinpath("three/wf.dig").write_text(BROKEN)
    two.hears("three: not taken over, its schedules rest:")
    two.told("one", times=len(two.notes("one")) + 1)


def test_a_broken_project_at_the_start_is_refused_and_starts_nothing(two):
    two.directory.joinpath("two/wf.dig").write_text(BROKEN)
    said = two.refused(code=2)
    assert "wf.dig:" in said
    assert two.ledger() == []


def test_a_directory_that_vanishes_for_a_while_is_told_and_everything_goes_on(site):
    """A folder of projects that is mounted anew, or moved and moved back."""
    folder = site.place / "folder"
    site.directory.joinpath("projects.yaml").write_text("projects: {far: {dir: ../folder}}\n")
    site.workflow("../folder/wf", EACH, "do: note far b")
    site.schedule()
    site.told("far")
    folder.rename(site.place / "elsewhere")
    site.hears("far: .*folder can't be read: No such file")
    site.told("far", times=len(site.notes("far")) + 1)
    site.place.joinpath("elsewhere").rename(folder)
    site.hears("far: can be read again")
    site.workflow("../folder/wf", EACH, "do: note farther b")
    site.told("farther")


def test_files_that_never_keep_still_are_taken_over_all_the_same(site):
    site.workflow("wf", EACH, 'do: date +%N >>"$PLACE/project/out"; note old b')
    site.schedule()
    site.told("old")
    for number in range(1_000_000):
        (site.directory / "noise").write_text(str(number))
        if number == 0:
            site.workflow("wf", EACH, "do: note new b")
            begun = time.monotonic()
        if site.has_said("default: revision"):
            break
        assert time.monotonic() - begun < SOON
        time.sleep(0.05)


def listing(site: Site, text: str) -> float:
    """The list of projects is this one, since that time."""
    new = site.directory / "projects.new"
    new.write_text(text)
    new.replace(site.directory / "projects.yaml")
    return time.monotonic()


@pytest.fixture
def listed(site):
    site.workflow("../one/wf", EACH, "do: note one b")
    site.workflow("../two/wf", EACH, "do: note two b")
    listing(site, "projects:\n  one: {dir: ../one}\n")
    return site


def test_a_changed_list_of_projects_is_taken_over_within_two_seconds(listed):
    listed.schedule()
    listed.told("one")
    begun = listing(listed, "projects:\n  one: {dir: ../one}\n  two: {dir: ../two}\n")
    listed.hears("two: revision [0-9a-f]{12}, 1 workflows, 1 schedules", SOON - (time.monotonic() - begun))
    listed.told("two")
    begun = listing(listed, "projects:\n  two: {dir: ../two}\n")
    listed.hears("one: the project is gone", SOON - (time.monotonic() - begun))
    count = len(listed.notes("one"))
    listing(listed, "projects:\n  two: {dir: ../one}\n")
    listed.told("one", times=count + 1)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("projects:\n  one: {dir: ../one}\n  two: {dir: ../nowhere}\n", "directory not found.*\n.*yaml:3:3 names it"),
        ("projects:\n  one: {dri: ../one}\n", "yaml:2:3: one: needs either git or dir"),
        ("projects:\n  one: {dir: ../one\n", r"yaml:\d+:\d+: "),
        ("projects: [one]\n", "yaml:1:1: projects must be a map of names"),
    ],
)
def test_a_list_that_is_wrong_is_refused_with_its_line_and_the_one_of_before_goes_on(listed, text, problem):
    listed.schedule()
    begun = listing(listed, text)
    listed.hears(
        f"projects.yaml: not taken over, the list of before goes on:\n.*{problem}", SOON - (time.monotonic() - begun)
    )
    listed.told("one", times=len(listed.notes("one")) + 1)
    listing(listed, "projects:\n  one: {dir: ../one}\n  two: {dir: ../two}\n")
    listed.hears("projects.yaml: can be read again")
    listed.told("two")


def test_a_list_that_comes_later_or_goes_is_what_a_start_would_read(listed):
    os.unlink(listed.directory / "projects.yaml")
    listed.workflow("wf", EACH, "do: note here b")
    listed.schedule()
    listed.told("here")
    listing(listed, "projects:\n  one: {dir: ../one}\n")
    listed.hears("default: the project is gone")
    listed.told("one")
    os.unlink(listed.directory / "projects.yaml")
    listed.hears("one: the project is gone")
    listed.told("here", times=len(listed.notes("here")) + 1)
