"""Pools, locks, rates, priorities and `concurrency`, as runs of the real program show them (features F54, F57 to F59)."""

from __future__ import annotations

import subprocess

import pytest

SPAN = 'echo "$task_name in" >> $OUTSIDE/ledger; sleep 0.3; echo "$task_name out" >> $OUTSIDE/ledger'


def most_at_once(text: str) -> int:
    most = inside = 0
    for line in text.splitlines():
        inside += 1 if line.endswith(" in") else -1
        most = max(most, inside)
    return most


def parallel(count: int, keys: str) -> str:
    tasks = [f"+t{number}:\n  {keys}\n  sh>: '{SPAN}'\n" for number in range(count)]
    return "_parallel: true\n" + "".join(tasks)


def ledger(project) -> str:
    return (project.outside / "ledger").read_text()


def test_no_more_tasks_are_at_work_than_a_pool_has_room_for(project):
    project.write("w.dig", parallel(5, "_use: {warehouse: 1}"))
    project.run("pools", "--set", "warehouse=2")
    project.run("run", "w")
    assert most_at_once(ledger(project)) == 2
    assert project.json("pools") == [{"name": "warehouse", "size": 2.0, "holders": []}]


def test_the_settings_may_give_a_pool_its_size(project):
    project.write("w.dig", parallel(3, "_use: {gpu: 0.5}"))
    project.write("settings.toml", "[pools]\ngpu = 0.5\n")
    project.run("run", "w", "-c", "settings.toml")
    assert most_at_once(ledger(project)) == 1


def test_a_lock_holds_over_runs_and_needs_no_declaration(project):
    for name in ("one", "two"):
        project.write(f"{name}.dig", parallel(2, '_use: {"lock:deploy": 1}'))
    runs = [project.start("run", name, stderr=subprocess.DEVNULL) for name in ("one", "two")]
    assert [run.wait(60) for run in runs] == [0, 0]
    assert most_at_once(ledger(project)) == 1


def test_a_group_holds_its_part_until_it_ends(project):
    inner = f"    +a: {{sh>: '{SPAN}'}}\n    +b: {{sh>: '{SPAN}'}}\n"
    groups = "".join(f'+g{number}:\n    _use: {{"lock:x": 1}}\n{inner}' for number in range(2))
    project.write("w.dig", f"_parallel: true\n{groups}")
    project.run("run", "w")
    order = [line.split("+")[2] for line in ledger(project).splitlines()]
    assert order in (["g0"] * 4 + ["g1"] * 4, ["g1"] * 4 + ["g0"] * 4)


def test_the_tasks_of_a_called_file_take_pools_too(project):
    project.write("lib.dig", parallel(3, '_use: {"lock:x": 1}'))
    project.write("w.dig", "+c:\n  call>: lib\n")
    project.run("run", "w")
    assert most_at_once(ledger(project)) == 1


def test_two_that_want_the_same_pools_in_another_order_do_not_wait_for_ever(project):
    both = [parallel(1, f'_use: {{"lock:{a}": 1, "lock:{b}": 1}}').replace("+t0", f"+{a}") for a, b in ("xy", "yx")]
    project.write("w.dig", "_parallel: true\n" + "".join(text.partition("\n")[2] for text in both))
    project.run("run", "w")
    assert most_at_once(ledger(project)) == 1


def test_a_failed_task_gives_its_part_back_while_it_waits_to_be_tried_again(project):
    project.write(
        "w.dig",
        '_parallel: true\n+bad:\n  _use: {"lock:x": 1}\n  _retry: {limit: 1, interval: 2}\n'
        "  sh>: echo bad >> $OUTSIDE/ran; test -e $OUTSIDE/good\n"
        '+good:\n  _use: {"lock:x": 1}\n  sh>: echo good >> $OUTSIDE/ran; touch $OUTSIDE/good\n',
    )
    project.run("run", "w")
    assert project.ran() == ["bad", "good", "bad"]


@pytest.mark.parametrize(
    ("use", "message"),
    [
        ("{nowhere: 1}", "there is no pool nowhere; set its size with: dagrun pools --set nowhere=3"),
        ('{"lock:x": 2}', "_use wants 2 of the pool lock:x, whose size is 1"),
        ("{a: much}", "_use: a must be a number above 0, not 'much'"),
        ("warehouse", "_use must be a map of pools"),
    ],
)
def test_what_can_not_be_taken_fails_the_task_with_the_remedy(project, use, message):
    project.write("w.dig", f"+a:\n  _use: {use}\n  sh>: 'true'\n")
    assert message in project.run("run", "w", code=1).err


def test_who_waits_too_long_for_a_pool_fails(project):
    project.write(
        "w.dig",
        '_parallel: true\n+a:\n  _use: {"lock:x": 1}\n  sh>: sleep 2\n+b:\n  _use: {"lock:x": 1, timeout: 1s}\n'
        "  sh>: echo b >> $OUTSIDE/ran\n",
    )
    ended = project.run("run", "w", code=1)
    assert "no room in its pools within the timeout of its _use" in ended.err
    assert project.ran() == []


def test_in_no_window_more_tasks_start_than_the_rate_allows(project):
    tasks = "".join(f"+t{number}:\n  _rate: api\n  sh>: date +%s.%N >> $OUTSIDE/ran\n" for number in range(8))
    project.write("w.dig", f"_parallel: true\n{tasks}")
    project.write("settings.toml", '[rates]\napi = "3/s"\n')
    project.run("run", "w", "-c", "settings.toml")
    times = sorted(map(float, project.ran()))
    assert len(times) == 8
    # What is counted are starts; the tasks themselves say so a little later.
    assert all(later - first > 0.8 for first, later in zip(times, times[3:], strict=False))


@pytest.mark.parametrize(("beside", "inside"), [("", "    _rate: 1/s\n"), ("  _rate: 1/s\n", "")])
def test_the_copies_of_a_loop_count_together_whether_the_rate_stands_in_them_or_beside_it(project, beside, inside):
    text = "+r:\n  loop>: 2\n  _parallel: true\n{}  _do:\n    sh>: date +%s.%N >> $OUTSIDE/ran\n{}"
    project.write("w.dig", text.format(beside, inside))
    project.run("run", "w.dig")
    first, last = sorted(map(float, project.ran()))
    assert last - first > 0.8


def test_an_unknown_rate_fails_the_task(project):
    project.write("w.dig", "+a:\n  _rate: api_y\n  sh>: 'true'\n")
    assert "_rate 'api_y' is neither a rate" in project.run("run", "w", code=1).err


def test_the_ready_task_of_the_highest_priority_starts_first(project):
    tasks = "".join(f"+t{n}:\n  _priority: {n}\n  sh>: echo {n} >> $OUTSIDE/ran\n" for n in (0, 3, 9, 5))
    project.write("w.dig", f"_parallel: true\n{tasks}")
    project.run("run", "w", "--max-task-threads", "1")
    assert project.ran() == ["9", "5", "3", "0"]


HOLD = "+a:\n  sh>: echo $session_date >> $OUTSIDE/ran; while [ ! -e $OUTSIDE/open ]; do sleep 0.02; done\n"


def begun(project):
    """A run of yesterday's session that is at work."""
    first = project.start("run", "w", "--session", "2026-01-01", stderr=subprocess.DEVNULL)
    while not project.ran():
        assert first.poll() is None
    return first


def test_one_more_run_waits_until_there_is_room(project):
    project.write("w.dig", f"concurrency: 1\n{HOLD}")
    first = begun(project)
    second = project.start("run", "w", "--session", "2026-01-02", stderr=subprocess.PIPE)
    assert "attempt 1 of w is at work, and its concurrency is 1: waiting" in second.stderr.readline()
    assert project.ran() == ["2026-01-01"]
    (project.outside / "open").touch()
    assert (first.wait(30), second.wait(30)) == (0, 0)
    assert project.ran() == ["2026-01-01", "2026-01-02"]
    second.stderr.close()


@pytest.mark.parametrize("keys", ["concurrency: 1", '_use: {"lock:x": 1}'])
def test_a_run_that_waits_ends_what_is_left_of_one_that_is_killed_meanwhile_and_goes_on(project, keys):
    project.write("w.dig", f"{keys}\n{HOLD}")
    first = begun(project)
    second = project.start("run", "w", "--session", "2026-01-02", stderr=subprocess.PIPE)
    said = second.stderr.readline()  # it waits, or its first task is about to
    assert "waiting for it" in said or "w@2026-01-02" in said
    first.kill()
    first.wait(30)
    while "attempt 1 of w was left by a process that died: ended it" not in said:
        said = second.stderr.readline()
        assert said, "it has ended"
    (project.outside / "open").touch()
    assert second.wait(30) == 0
    assert project.ran() == ["2026-01-01", "2026-01-02"]
    second.stderr.close()


@pytest.mark.parametrize(("when_full", "code"), [("skip", 0), ("fail", 4)])
def test_one_more_run_is_skipped_or_fails_if_the_file_says_so(project, when_full, code):
    project.write("w.dig", f"concurrency: {{limit: 1, when_full: {when_full}}}\n{HOLD}")
    first = begun(project)
    assert "attempt 1 of w is at work" in project.run("run", "w", "--session", "2026-01-02", code=code).err
    (project.outside / "open").touch()
    assert first.wait(30) == 0
    assert project.ran() == ["2026-01-01"]


def test_attempts_of_another_key_are_not_counted(project):
    project.write("w.dig", f'concurrency: {{limit: 1, key: "${{customer}}"}}\n{HOLD}')
    first = project.start("run", "w", "--session", "2026-01-01", "-p", "customer=a", stderr=subprocess.DEVNULL)
    while not project.ran():
        assert first.poll() is None
    second = project.start("run", "w", "--session", "2026-01-02", "-p", "customer=b", stderr=subprocess.DEVNULL)
    while len(project.ran()) < 2:
        assert second.poll() is None
    (project.outside / "open").touch()
    assert (first.wait(30), second.wait(30)) == (0, 0)


def test_a_newer_run_takes_the_place_of_the_one_at_work(project):
    project.write("w.dig", f"concurrency: {{limit: 1, when_full: replace}}\n{HOLD}")
    first = begun(project)
    second = project.start("run", "w", "--session", "2026-01-02", stderr=subprocess.DEVNULL)
    assert first.wait(30) == 6
    (project.outside / "open").touch()
    assert second.wait(30) == 0


def test_a_newer_run_takes_the_place_of_one_whose_file_had_other_tasks(project):
    more = "+b:\n  sh>: echo too late >> $OUTSIDE/ran\n+c:\n  echo>: x\n"
    project.write("w.dig", f"concurrency: {{limit: 1, when_full: replace}}\n{HOLD}{more}")
    first = begun(project)
    project.write("w.dig", f"concurrency: {{limit: 1, when_full: replace}}\n{HOLD}")
    second = project.start("run", "w", "--session", "2026-01-02", stderr=subprocess.DEVNULL)
    assert first.wait(30) == 6
    (project.outside / "open").touch()
    assert second.wait(30) == 0
    assert project.ran() == ["2026-01-01", "2026-01-02"]


def test_a_required_workflow_starts_when_there_is_room_for_it(project):
    project.write("w.dig", f"concurrency: 1\n{HOLD}")
    project.write("p.dig", "+x:\n  require>: w\n")
    first = begun(project)
    second = project.start("run", "p", "--session", "2026-01-02", stderr=subprocess.PIPE)
    said = second.stderr.readline()
    while "waits" not in said:
        assert said, "it has ended"
        said = second.stderr.readline()
    assert said == "warning: +p+x waits: attempt 1 of w is at work, and its concurrency is 1\n"
    assert project.ran() == ["2026-01-01"]
    (project.outside / "open").touch()
    assert (first.wait(30), second.wait(30)) == (0, 0)
    assert project.ran() == ["2026-01-01", "2026-01-02"]
    second.stderr.close()


@pytest.mark.parametrize("when_full", ["skip", "fail"])
def test_who_requires_a_workflow_that_may_not_wait_for_room_fails(project, when_full):
    project.write("w.dig", f"concurrency: {{limit: 1, when_full: {when_full}}}\n{HOLD}")
    project.write("p.dig", "+x:\n  require>: w\n")
    first = begun(project)
    ended = project.run("run", "p", "--session", "2026-01-02", code=1)
    assert f"attempt 1 of w is at work, and its concurrency is 1 with when_full: {when_full}" in ended.err
    (project.outside / "open").touch()
    assert first.wait(30) == 0
    assert project.ran() == ["2026-01-01"]


def test_a_required_workflow_takes_the_place_of_the_one_at_work_if_the_file_says_so(project):
    project.write("w.dig", f"concurrency: {{limit: 1, when_full: replace}}\n{HOLD}")
    project.write("p.dig", "+x:\n  require>: w\n")
    first = begun(project)
    second = project.start("run", "p", "--session", "2026-01-02", stderr=subprocess.DEVNULL)
    assert first.wait(30) == 6
    (project.outside / "open").touch()
    assert second.wait(30) == 0


def test_who_requires_an_earlier_session_of_its_own_workflow_lends_it_its_place(project):
    project.write(
        "w.dig",
        "concurrency: 1\n+before:\n  if>: ${session_date != '2026-01-01'}\n  _do:\n    require>: w\n"
        "    session_time: 2026-01-01T00:00:00+00:00\n+a:\n  sh>: echo $session_date >> $OUTSIDE/ran\n",
    )
    project.run("run", "w", "--session", "2026-01-02")
    assert project.ran() == ["2026-01-01", "2026-01-02"]


def test_after_a_failure_nothing_else_of_a_strict_order_starts_before_it_is_mended(project):
    project.write(
        "w.dig",
        "concurrency: {limit: 1, order: strict}\n+a:\n  sh>: echo $session_date >> $OUTSIDE/ran; test -e $OUTSIDE/open\n",
    )
    project.run("run", "w", "--session", "2026-01-01", code=1)
    refused = project.run("run", "w", "--session", "2026-01-02", code=4).err
    assert "attempt 1 of w failed, and its concurrency has order: strict\n  nothing else starts" in refused
    assert "dagrun retry 1" in refused
    (project.outside / "open").touch()
    project.run("retry", "1")
    project.run("run", "w", "--session", "2026-01-02")
    assert project.ran() == ["2026-01-01", "2026-01-01", "2026-01-02"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("concurrency: {limit: 0}", "w.dig:1:1: concurrency: limit must be 1 or more"),
        ("concurrency: {limits: 1}", "did you mean limit?"),
        ("concurrency: {when_full: wait}", "when_full can't be 'wait'"),
        ("concurrency: {order: fast}", "order can't be 'fast'"),
        ("priority: 12", "priority must be a number from 0 to 9"),
    ],
)
def test_an_option_of_another_form_is_refused_with_its_place(project, text, message):
    project.write("w.dig", f"{text}\n{HOLD}")
    assert message in project.run("check", code=2).err + project.run("check", code=2).out


def test_a_paused_attempt_starts_nothing_more_and_goes_on_when_it_is_told_to(project):
    project.write("w.dig", f"{HOLD}+b:\n  sh>: echo b >> $OUTSIDE/ran\n")
    run = begun(project)
    project.run("pause", "last", "--reason", "lunch")
    assert "it is paused already" in project.run("pause", "1", code=4).err
    (project.outside / "open").touch()
    while "ready" not in {task["state"] for task in project.json("tasks", "last")}:
        assert run.poll() is None
    assert "(lunch); dagrun unpause 1 lets it go on" in project.run("why", "1").out
    assert project.ran() == ["2026-01-01"]
    project.run("unpause", "1")
    assert run.wait(30) == 0
    assert project.ran()[-1] == "b"


def test_why_names_the_pool_and_who_holds_it(project):
    project.write(
        "w.dig",
        f'_parallel: true\n+a:\n  _use: {{"lock:x": 1}}\n{HOLD[4:]}+b:\n  _use: {{"lock:x": 1}}\n  sh>: "true"\n',
    )
    run = begun(project)
    assert project.run("why", "last", "+b").out.strip().endswith("+w+b waits for the lock lock:x (1/1 held by #1 +w+a)")
    (holder,) = project.json("pools")[0]["holders"]
    assert (holder["attempt"], holder["task"], holder["amount"]) == (1, "+w+a", 1.0)
    (project.outside / "open").touch()
    assert run.wait(30) == 0


def test_why_a_task_waits_for_its_rate(project):
    texts = "_parallel: true\n+a:\n  _rate: r\n  sh>: 'true'\n+b:\n  _rate: r\n  sh>: 'true'\n"
    project.write("v.dig", texts)
    home = project.home / ".config" / "dagrun"
    home.mkdir(parents=True)
    (home / "config.toml").write_text('[rates]\nr = "1/1h"\n')
    run = project.start("run", "v", stderr=subprocess.DEVNULL)
    while "success" not in project.run("tasks", "last", code=None).out:
        assert run.poll() is None
    assert "waits for its _rate, " in project.run("why", "last", "+b").out
    project.run("kill", "last")
    assert run.wait(30) == 6
