"""Notices: made with their event or not at all, delivered at least once, and what can't be delivered is told."""

from __future__ import annotations

import json
import time
from itertools import count

import pytest

from dagrun.core.config import Map
from dagrun.core.events import Canceled, Failure, Finished, Overdue, Success
from dagrun.core.notify import Source, rules_of
from dagrun.engine.notices import Notices, Post
from dagrun.engine.noticing import Noticing
from dagrun.engine.submit import start
from dagrun.engine.turn import take_turn
from dagrun.engine.waiting_room import queue
from tests.stubs.http import http_stub

LIMIT_SECONDS = 30
LEASE = "lease"


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch):
    monkeypatch.setenv("no_proxy", "*")


NUMBERS = count()  # no two attempts of a session have the same name


class Office:
    """Attempts of one workflow, and those who deliver the notices of them."""

    def __init__(self, world, text: str, settings: str = "", files: dict[str, bytes] | None = None) -> None:
        self.world = world
        self.text = f"{text}\n+a:\n  echo>: x\n"
        source = Source("notify", (None, None, None))
        self.noticing = Noticing(rules_of([{"to": settings}], source) if settings else ())
        self.files = Files(files or {})
        self.said: list[str] = []
        self.settings: dict[str, str] = {}

    def attempt(self, *outcomes):
        """An attempt whose task ended so, or to which that happened."""
        row, live = self.world.submit(self.text, retry_name=f"{next(NUMBERS)}")
        live.witness = self.noticing.witness(live.workflow, self.files)
        take_turn(self.world.store, live, claim=1, lease=lambda: LEASE)
        for one in outcomes:
            is_event = isinstance(one, Canceled | Overdue)
            take_turn(self.world.store, live, [one if is_event else Finished(1, LEASE, one)])
        if live.tree is not None:  # the alert of one that failed
            for task in live.tree.claimable(9):
                claim = take_turn(self.world.store, live, claim=9, lease=lambda: LEASE).claimed
                take_turn(self.world.store, live, [Finished(index, LEASE, Success()) for index in claim or [task]])
                break
        return row

    def notices(self, **more) -> Notices:
        store = self.world.open_another()
        post = Post(lambda: self.settings, {"hook": "x"}.get, **more.pop("post", {}))
        more.setdefault("wait", lambda tries: 0.01 if tries < 4 else None)
        return Notices(store, self.noticing, post, lambda: [1], self.said.append, **more)

    def rows(self):
        """Oldest first."""
        with self.world.store.reading() as tx:
            return tx.list_notices()[::-1]

    def kinds(self) -> list[tuple[str, str]]:
        return [(row.kind, row.target) for row in self.rows()]


class Files(Map):
    def __init__(self, files: dict[str, bytes]) -> None:
        super().__init__("files")
        self.update(files)

    def read(self, path: str) -> bytes:
        if path not in self:
            raise FileNotFoundError(path)
        found: bytes = self[path]
        return found


FAILED = Failure({"kind": "command_failed", "message": "Command failed with code 3\nmore"})


@pytest.fixture
def office(world):
    return lambda *given, **more: Office(world, *given, **more)


# -- what is noticed


def test_nobody_looks_at_an_attempt_without_rules(office):
    assert (
        office("timezone: UTC").noticing.witness(
            office("timezone: UTC").world.submit("+a:\n  echo>: x")[1].workflow, {}
        )
        is None
    )


def test_a_failure_is_noticed_once_for_each_target(office):
    one = office("notify: {on: failed, to: [stderr, 'mail:a@b.c', stderr]}")
    one.attempt(FAILED)
    assert one.kinds() == [("failed", "stderr"), ("failed", "mail:a@b.c")]
    one.attempt(FAILED)
    assert len(one.kinds()) == 4


def test_it_says_what_failed_and_how_to_go_on(office):
    one = office("notify: {to: stderr}")
    row = one.attempt(FAILED)
    (made,) = one.rows()
    notice = json.loads(made.body)["notice"]
    assert notice["title"] == "p/wf failed"
    assert notice["text"].splitlines() == [
        f"session 1970-01-01T00:00:00+00:00, attempt {row.id}", "+wf+a: Command failed with code 3",
        f"dagrun retry {row.id}",
    ]  # fmt: skip
    assert notice["facts"]["error"] == {
        "task": "+wf+a", "message": "Command failed with code 3\nmore", "kind": "command_failed",
    }  # fmt: skip


def test_what_an_attempt_waited_for_its_turn_is_not_part_of_its_duration(office, world):
    one = office("notify: {on: succeeded, to: stderr}")
    wanted = world.submission(one.text)
    with world.store.transaction() as tx:
        row = queue(tx, wanted, {}, most=1, why="the one before it is not done")
    while clock(world) < row.created_at + 20_000:
        pass
    with world.store.transaction() as tx:
        row, live = start(tx, row, wanted)
    live.witness = one.noticing.witness(live.workflow, one.files)
    take_turn(world.store, live, claim=1, lease=lambda: LEASE)
    end = take_turn(world.store, live, [Finished(1, LEASE, Success())])
    assert end.row.finished_at is not None and end.tree.root.started_at is not None
    (made,) = one.rows()
    took = json.loads(made.body)["notice"]["facts"]["duration_seconds"]
    assert took == round((end.row.finished_at - end.tree.root.started_at) / 1_000_000, 3)


def clock(world) -> int:
    with world.store.reading() as tx:
        return tx.now


def test_recovered_is_the_first_success_after_a_failure(office):
    one = office("notify: {on: recovered, to: stderr}")
    for outcome in (Success(), FAILED, FAILED):
        one.attempt(outcome)
    assert one.kinds() == []
    one.attempt(Success())
    one.attempt(Success())
    assert one.kinds() == [("recovered", "stderr")]


def test_an_alarm_is_noticed_while_the_attempt_goes_on(office):
    one = office("notify: {to: stderr}")
    one.attempt(Overdue(False, False, {}))
    assert one.kinds() == [("late", "stderr")]


@pytest.mark.parametrize("word", ["canceled", "killed"])
def test_the_end_of_a_canceled_attempt_is_noticed_if_asked(office, word):
    one = office(f"notify: {{on: {word}, to: stderr}}")
    one.attempt(Canceled("enough"), Success())
    assert one.kinds() == [("canceled", "stderr")]
    assert "enough" in one.rows()[0].body
    two = office("notify: {to: stderr}")
    two.attempt(Canceled("enough"), Success())
    assert len(two.kinds()) == 1


def test_the_settings_hold_for_all_workflows_and_give_targets_to_those_without(office):
    office("timezone: UTC", "stderr").attempt(FAILED)
    one = office("notify: {on: succeeded}", "mail:a@b.c, stderr")
    one.attempt(Success())
    assert one.kinds() == [
        ("failed", "stderr"), ("succeeded", "mail:a@b.c"), ("succeeded", "stderr"), ("recovered", "mail:a@b.c"),
        ("recovered", "stderr"),
    ]  # fmt: skip


def test_without_any_target_it_goes_to_standard_error(office):
    one = office("notify: {on: failed}")
    one.attempt(FAILED)
    assert one.kinds() == [("failed", "stderr")]


def test_once_per_session_the_second_failure_of_a_session_is_not_told(office):
    one = office("notify: {on: failed, to: stderr, once_per: session}")
    one.attempt(FAILED)
    one.attempt(FAILED)
    assert one.kinds() == [("failed", "stderr")]


def test_a_turn_that_fails_leaves_no_notice(office, monkeypatch):
    one = office("notify: {to: stderr}")
    make = Noticing.make

    def break_off(self, *given):
        make(self, *given)
        raise RuntimeError("the end of the process")

    monkeypatch.setattr(Noticing, "make", break_off)
    with pytest.raises(RuntimeError):
        one.attempt(FAILED)
    assert one.rows() == []
    with one.world.store.reading() as tx:
        assert len(tx.live_attempts()) == 1


def test_a_template_makes_the_message(office):
    files = {"t.yml": b'text: "${workflow} ${attempt_id} ${error.kind}: ${title.length}"\n'}
    one = office("notify: {to: stderr, template: t.yml}", files=files)
    row = one.attempt(FAILED)
    assert json.loads(one.rows()[0].body)["payload"] == {"text": f"wf {row.id} command_failed: 11"}


@pytest.mark.parametrize("files", [{}, {"t.yml": b"text: ${unknown}"}, {"t.yml": b"- 1"}, {"t.yml": b"\xff"}])
def test_a_template_that_breaks_takes_no_notice_away(office, files):
    one = office("notify: {to: stderr, template: t.yml}", files=files)
    one.attempt(FAILED)
    kept = json.loads(one.rows()[0].body)
    assert kept["payload"] is None and "its template can't be used" in kept["notice"]["text"]


# -- how it is delivered


def routes(*statuses: int):
    return [{"path": "/hook", "answers": [{"status": status} for status in statuses]}]


def test_two_answers_of_500_and_one_of_200_are_one_message_and_three_tries(office):
    with http_stub(routes(500, 500, 200)) as server:
        one = office("notify: {to: 'slack:#ops'}")
        one.settings["notices.slack.url"] = f"{server.url}/hook"
        one.attempt(FAILED)
        assert one.notices().finish(LIMIT_SECONDS) == []
    (row,) = one.rows()
    assert (row.state, row.tries, row.error) == ("sent", 3, None)
    assert len(server.requests) == 3
    assert json.loads(server.requests[-1]["body"])["channel"] == "#ops"


def test_what_is_never_taken_ends_as_failed_and_is_told(office):
    with http_stub(routes(500)) as server:
        one = office(f"notify: {{to: '{server.url}/hook'}}")
        row = one.attempt(FAILED)
        assert one.notices().finish(LIMIT_SECONDS) == []
    (notice,) = one.rows()
    assert (notice.state, notice.tries) == ("failed", 4)
    assert "answered 500" in notice.error
    assert [text for text in one.said if f"notice_failed notice 1 (wf failed of attempt {row.id})" in text]
    assert "/hook" not in str(one.said)


def test_the_first_failure_is_told_and_not_each(office):
    with http_stub(routes(500, 500, 500, 200)) as server:
        one = office(f"notify: {{to: '{server.url}/hook'}}")
        one.attempt(FAILED)
        one.notices().finish(LIMIT_SECONDS)
    assert len(one.said) == 1 and "tried again" in one.said[0]


def test_a_slow_server_delays_neither_the_loop_nor_other_targets(office):
    answers = [{"path": "/slow", "answers": [{"status": 200, "delay": LIMIT_SECONDS}]}, *routes(200)]
    with http_stub(answers) as server:
        one = office(f"notify: {{to: ['{server.url}/slow', '{server.url}/hook']}}")
        one.attempt(FAILED)
        one.attempt(FAILED)
        notices = one.notices()
        deadline = time.monotonic() + LIMIT_SECONDS
        while [row.state for row in one.rows()].count("sent") < 2:
            before = time.monotonic()
            assert before < deadline
            time.sleep(min(0.05, notices.poll(before)))
            assert time.monotonic() - before < 5
        assert [row.tries for row in one.rows()] == [1, 1, 0, 1]


def test_who_dies_between_the_claim_and_the_answer_leaves_it_to_the_next_process(office):
    with http_stub(
        [{"path": "/hook", "answers": [{"status": 200, "delay": LIMIT_SECONDS}, {"status": 200}]}]
    ) as server:
        one = office(f"notify: {{to: '{server.url}/hook'}}")
        one.attempt(FAILED)
        dead = one.notices(post={"try_seconds": 0.2})
        dead.poll(0.0)
        assert dead.under_way
        assert one.notices(post={"try_seconds": LIMIT_SECONDS}).finish(LIMIT_SECONDS) == []
        assert (one.rows()[0].state, one.rows()[0].tries, len(server.requests)) == ("sent", 2, 2)


def test_two_processes_do_not_try_the_same_at_once(office):
    with http_stub([{"path": "/hook", "answers": [{"status": 200, "delay": LIMIT_SECONDS}]}]) as server:
        one = office(f"notify: {{to: '{server.url}/hook'}}")
        one.attempt(FAILED)
        first, second = one.notices(), one.notices()
        first.poll(0.0)
        second.poll(0.0)
        assert (len(first.under_way), len(second.under_way)) == (1, 0)


def test_what_can_not_arrive_in_time_is_left_at_once(office):
    with http_stub(routes(500)) as server:
        one = office(f"notify: {{to: '{server.url}/hook'}}")
        one.attempt(FAILED)
        before = time.monotonic()
        left = one.notices(wait=lambda tries: 3600.0).finish(LIMIT_SECONDS)
        assert [row.id for row in left] == [1]
        assert time.monotonic() - before < LIMIT_SECONDS / 2


def test_a_target_may_name_a_secret_and_one_that_is_not_there_is_told(office):
    with http_stub([{"path": "/x", "answers": [{"status": 200}]}]) as server:
        one = office(f"notify: {{to: ['{server.url}/${{secret:hook}}', '{server.url}/${{secret:none}}']}}")
        one.attempt(FAILED)
        one.notices().finish(LIMIT_SECONDS)
    assert [row.state for row in one.rows()] == ["sent", "failed"]
    assert "dagrun secrets --local --set none" in one.rows()[1].error


def test_notices_of_other_projects_are_left_alone(office):
    one = office("notify: {to: stderr}")
    one.attempt(FAILED)
    notices = one.notices()
    notices.projects = lambda: [2]
    notices.poll(0.0)
    assert one.rows()[0].tries == 0
