"""Expressions in several threads and time zones at once, and the limits at which an expression ends."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from dagrun.core.config import Template
from dagrun.core.javascript import JavaScript, Scope
from dagrun.core.session import SECOND, format_time
from dagrun.core.template import render
from dagrun.core.zone import zone
from dagrun.errors import TaskFailed

ROUNDS = 300
EPOCH = 1_709_253_005  # 2024-03-01T00:30:05Z
HOUR = 3600
FORMAT = Template("${moment(session_time).format()}")
NEW_YORK, TOKYO, KOLKATA = "America/New_York", "Asia/Tokyo", "Asia/Kolkata"


@pytest.fixture(autouse=True)
def often_switched() -> Iterator[None]:
    """Threads take turns far more often than they do by themselves."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(before)


def at_once(*works: Callable[[], Any]) -> list[Any]:
    """What each of these gives, run in threads of their own that begin together."""
    begin = threading.Barrier(len(works))
    results: list[Any] = [None] * len(works)

    def run(number: int, work: Callable[[], Any]) -> None:
        begin.wait(10)
        try:
            results[number] = work()
        except Exception as problem:
            results[number] = problem

    threads = [threading.Thread(target=run, args=each, daemon=True) for each in enumerate(works)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return results


def session_times(name: str) -> list[str]:
    return [format_time((EPOCH + number * HOUR) * SECOND, zone(name)) for number in range(ROUNDS)]


def formatted(name: str) -> list[str]:
    """Each session time as moment prints it, in an engine of the thread that asks."""
    scope = JavaScript().at(name, float(EPOCH))
    return [render(FORMAT, {"session_time": text}, scope) for text in session_times(name)]


def test_two_threads_in_two_zones_each_print_their_own_local_times():
    assert at_once(lambda: formatted(TOKYO), lambda: formatted(NEW_YORK)) == [
        session_times(TOKYO),
        session_times(NEW_YORK),
    ]


def test_the_summer_time_of_one_zone_does_not_reach_the_other():
    """The hours go over 10 March 2024, when New York's clocks change and Tokyo's do not."""
    east, west = at_once(lambda: formatted(TOKYO), lambda: formatted(NEW_YORK))
    assert {text[-6:] for text in east} == {"+09:00"} and {text[-6:] for text in west} == {"-05:00", "-04:00"}


def test_one_engine_that_goes_to_and_fro_between_zones_prints_the_local_times_of_each():
    engine = JavaScript()
    given = [(name, text) for pair in zip(session_times(KOLKATA), session_times(NEW_YORK), strict=True)
             for name, text in zip((KOLKATA, NEW_YORK), pair, strict=True)]  # fmt: skip
    assert [render(FORMAT, {"session_time": text}, engine.at(name, 0.0)) for name, text in given] == [
        text for _, text in given
    ]


def test_each_thread_has_a_clock_of_its_own():
    def seen(now: int) -> set[str]:
        scope = JavaScript().at("UTC", float(now))
        return {render("${Date.now() + ' ' + new Date().getTime()}", {}, scope) for _ in range(ROUNDS)}

    assert at_once(lambda: seen(1), lambda: seen(2)) == [{"1000 1000"}, {"2000 2000"}]


def test_each_thread_sees_its_own_variables():
    def seen(value: str) -> set[str]:
        scope = JavaScript().at("UTC", 0.0)
        return {render("${v + v}", {"v": value}, scope) for _ in range(ROUNDS)}

    assert at_once(lambda: seen("a"), lambda: seen("b")) == [{"aa"}, {"bb"}]


def test_what_a_text_leaves_behind_is_seen_in_no_other_thread():
    def leaves() -> set[str]:
        scope = JavaScript().at("UTC", 0.0)
        return {render("${Array.prototype.left = 'here', 'x'}", {}, scope) for _ in range(20)}

    def looks() -> set[str]:
        scope = JavaScript().at("UTC", 0.0)
        return {render("${String([].left)}", {}, scope) for _ in range(ROUNDS)}

    assert at_once(leaves, looks) == [{"x"}, {"undefined"}]


# -- limits


def failure(text: str, scope: Scope, **view: Any) -> TaskFailed:
    with pytest.raises(TaskFailed) as caught:
        render(text, view, scope)
    return caught.value


@pytest.mark.parametrize(
    "endless",
    [
        "(function () { while (true) {} })()",
        "(function f() { for (;;) { try { f.x = 1 } catch (e) {} } })()",
        "[0].map(function () { while (1); })",
        "(function () { while (true) { moment(0).format() } })()",
    ],
)
def test_an_expression_without_end_is_ended_by_its_time(endless):
    scope = JavaScript(seconds=0.1).at("UTC", 0.0)
    problem = failure("${" + endless + "}", scope)
    assert (problem.kind, problem.category) == ("template_error", "config")
    assert "the expression did not end within 0.1 s" in problem.message


@pytest.mark.parametrize(
    "greedy",
    [
        "(function () { var all = []; while (true) all.push(new Array(1000).join('x') + all.length) })()",
        "(function () { var s = 'x'; while (true) s += s })()",
        "'x'.repeat(1e9)",
        "JSON.stringify(new Array(1e7).fill('x'))",
    ],
)
def test_an_expression_that_eats_memory_is_ended_by_its_limit(greedy):
    problem = failure("${" + greedy + "}", JavaScript(megabytes=16).at("UTC", 0.0))
    assert problem.kind == "template_error"
    assert "the expression needs more than 16 MB of memory" in problem.message


def test_an_expression_that_calls_itself_without_end_fails():
    problem = failure("${(function f() { return f() + 1 })()}", JavaScript().at("UTC", 0.0))
    assert problem.kind == "template_error" and "stack overflow" in problem.message


@pytest.mark.parametrize("endless", ["(function () { while (true) {} })()", "(function f() { return f() + 1 })()"])
def test_after_an_expression_that_was_ended_the_engine_works_as_before(endless):
    scope = JavaScript(seconds=0.1).at(TOKYO, 0.0)
    for _ in range(3):
        failure("${" + endless + "}", scope)
        assert render(FORMAT, {"session_time": "1970-01-01T00:00:00Z"}, scope) == "1970-01-01T09:00:00+09:00"


def test_an_expression_that_is_ended_leaves_the_one_of_another_thread_alone():
    def endless() -> Any:
        return render("${(function () { while (true) {} })()}", {}, JavaScript(seconds=0.1).at("UTC", 0.0))

    ended, others = at_once(endless, lambda: formatted(TOKYO))
    assert isinstance(ended, TaskFailed) and others == session_times(TOKYO)


# -- what an expression throws


@pytest.mark.parametrize(
    ("thrown", "shown"),
    [
        ("new Error('own words')", "(Error: own words)"),
        ("'own words'", "(own words)"),
        ("Symbol('own words')", "(Symbol(own words))"),
        ("7", "(7)"),
        ("Object.create(null)", "(an object that is no text)"),
        ("{toString: function () { throw 1 }}", "(an object that is no text)"),
        ("'a\\ud800b\\0c'", "(a?b?c)"),
    ],
)
def test_what_an_expression_throws_is_the_message(thrown, shown):
    problem = failure("${(function () { throw " + thrown + " })()}", JavaScript().at("UTC", 0.0))
    assert problem.message.endswith(shown)


def test_what_is_thrown_can_not_hold_the_thread_up_while_it_is_made_a_text():
    endless = "{toString: function () { while (true) {} }}"
    problem = failure("${(function () { throw " + endless + " })()}", JavaScript(seconds=0.1).at("UTC", 0.0))
    assert "did not end within 0.1 s" in problem.message


@pytest.mark.parametrize("name", ["toString", "stack", "message", "name"])
def test_no_getter_of_an_expression_is_called_when_its_time_is_over(name):
    trap = f"Object.defineProperty(kind.prototype, '{name}', {{get: function () {{ while (true) {{}} }}}})"
    everywhere = f"[Object, Error, InternalError].forEach(function (kind) {{ try {{ {trap} }} catch (e) {{}} }})"
    text = "${(function () { " + everywhere + "; while (true) {} })()}"
    assert "did not end within 0.1 s" in failure(text, JavaScript(seconds=0.1).at("UTC", 0.0)).message
