"""sh>: the command that it describes, and what real shells make of it."""

from __future__ import annotations

import json

import pytest

from dagrun.plugins.operator import Succeeded, TryFile
from dagrun.plugins.testing import context
from dagrun_operators.sh import Sh


def command(params, **more):
    return Sh().run(context(params, **more))


def environment(params, **more):
    return command({"_command": "true", **params}, **more).environment


def test_the_text_becomes_a_file_that_the_shell_runs(run):
    described = command({"_command": "echo hi"})
    assert described.argv == ["/bin/sh", TryFile("runner.sh")]
    assert described.files["runner.sh"] == "echo hi"
    assert described.workdir_on_path
    assert described.image is None
    assert run(Sh(), {"_command": 'echo "$# $0" | grep -o "^[^ ]* .*runner.sh"'}) == Succeeded()


@pytest.mark.parametrize("params", [{"shell": ["bash", "-e"]}, {"sh": {"shell": ["bash", "-e"]}}])
def test_another_shell(params):
    assert command({"_command": "x", **params}).argv == ["bash", "-e", TryFile("runner.sh")]


def test_the_shell_of_the_task_wins_over_that_of_the_namespace():
    assert command({"_command": "x", "sh": {"shell": ["a"]}, "shell": ["b"]}).argv[0] == "b"


@pytest.mark.parametrize(
    ("params", "kind"),
    [
        ({"_command": None}, "missing (_command)"),
        ({"_command": ["echo"]}, "bad_type (_command)"),
        ({"_command": "x", "shell": "bash"}, "bad_type (shell)"),
        ({"_command": "x", "shell": []}, "bad_option"),
        ({"_command": "x", "shell": [["bash"]]}, "bad_type (shell[0])"),
        ({"_command": "x", "docker": "img"}, "bad_type (docker)"),
        ({"_command": "x", "_env": ["A"]}, "bad_type (_env)"),
        ({"_command": "x", "_env": {"A": [1]}}, "bad_type (A)"),
        ({"_command": "x", "_env": {"bad-name": "1"}}, "bad_option"),
        ({"_command": "echo ${home:-x}"}, "bad_secret_reference"),
    ],
)
def test_what_it_cannot_read_is_refused(params, kind, fails):
    with fails(kind):
        command(params)


def test_parameters_are_variables(run):
    params = {"a": 1, "m": {"x": [1, 2]}, "t": "text", "f": 1.5, "n": 1000.0, "b": True, "e": "", "bad-name": "z"}
    run(Sh(), {"_command": 'echo "$a|$m|$t|$f|$n|$b|$e|$none"', "none": None, **params})
    assert run.output == '1|{"x":[1,2]}|text|1.5|1000.0|true||\n'


def test_the_script_is_one_of_the_variables(run):
    run(Sh(), {"_command": 'echo "$_command" | tail -c 4'})
    assert run.output == "c 4\n"


def test_env_wins_over_parameters_and_only_counts_at_the_task_itself():
    assert environment({"A": "param", "_env": {"A": "env", "N": 1, "none": None}})["A"] == "env"
    assert environment({"_env": {"N": 1}})["N"] == "1"
    inherited = Sh().run(context({"_env": {"A": "x"}}, local={"_command": "true"}))
    assert "A" not in inherited.environment


def test_a_parameter_never_replaces_what_decides_which_programs_run(run):
    names = ["PATH", "HOME", "LD_PRELOAD", "PYTHONPATH", "BASH_ENV", "DAGRUN_OUT", "PERL5LIB"]
    task = context({"_command": "true", "path": "ok", **dict.fromkeys(names, "evil")})
    made = Sh().run(task).environment
    assert "evil" not in made.values()
    assert made["path"] == "ok"
    assert len(task.warnings) == 1
    assert "PATH" in task.warnings[0]
    assert environment({"_env": {"PATH": "/bin"}})["PATH"] == "/bin"


def test_values_that_no_environment_holds_are_left_out_with_one_warning(run):
    task = context({"_command": 'test -z "$big" && echo fine', "big": "x" * 200_000, "nul": "a\0b", "cut": "\ud800"})
    end = run.execute(Sh().run(task))
    assert (end.exit_code, run.output) == (0, "fine\n")
    assert len(task.warnings) == 1
    assert "big, cut, nul" in task.warnings[0]


def test_many_values_that_are_too_large_together_are_cut_off(run):
    task = context({"_command": "echo fine", **{f"v{i}": "x" * 90_000 for i in range(40)}})
    assert run.execute(Sh().run(task)).exit_code == 0
    assert len(task.warnings) == 1


def test_a_long_script_is_no_reason_to_warn(run):
    task = context({"_command": "echo fine\n" + "#" * 200_000})
    assert run.execute(Sh().run(task)).exit_code == 0
    assert task.warnings == []


def test_all_parameters_are_in_a_json_file(run):
    run(Sh(), {"_command": 'cat "$DAGRUN_IN"; cmp "$DAGRUN_IN" "$DAGRUN_PARAMS_FILE"', "a": [1, None], "none": None})
    assert json.loads(run.output)["a"] == [1, None]
    assert json.loads(run.output)["none"] is None


def test_secrets_are_filled_in_and_listed_for_masking(run):
    described = command(
        {"_command": "echo '${secret:a}'", "_env": {"C": "x-${secret:s.d}"}}, secrets={"a": "S1", "s.d": "S2"}
    )
    assert described.files["runner.sh"] == "echo 'S1'"
    assert described.environment["C"] == "x-S2"
    assert described.environment["_command"] == "echo '${secret:a}'"
    assert set(described.secrets) == {"S1", "S2"}


def test_a_secret_that_is_not_there_fails_the_task(fails):
    with fails("secret_not_found", "secret not found"):
        command({"_command": "echo x", "_env": {"A": "${secret:no.such}"}})


def test_the_image_goes_along():
    assert command({"_command": "x", "docker": {"image": "img"}}).image == {"image": "img"}
    assert command({"_command": "x", "docker": None}).image is None


def test_a_program_of_the_project_is_found(run):
    run.write({"tool.sh": "#!/bin/sh\necho tool\n"})
    (run.project / "tool.sh").chmod(0o755)
    run(Sh(), {"_command": "tool.sh"})
    assert run.output == "tool\n"


@pytest.mark.parametrize(("script", "code"), [("exit 3", 3), ("kill -9 $$", 137), ("no_such_command_x", 127)])
def test_the_exit_code_decides(script, code, run, fails):
    with fails("command_failed", "runtime") as caught:
        run(Sh(), {"_command": script})
    assert caught.value.message == f"Command failed with code {code}"


def test_what_is_written_to_the_out_file_is_stored(run):
    result = run(Sh(), {"_command": """echo '{"rows": 3}' > "$DAGRUN_OUT" """})
    assert result == Succeeded(stored={"rows": 3})
    assert run(Sh(), {"_command": ': > "$DAGRUN_OUT"'}) == Succeeded()


@pytest.mark.parametrize("text", ["{", "[1]", '{"a": NaN}', "rows=3"])
def test_an_out_file_that_is_no_map_fails_the_task(text, run, fails):
    with fails("bad_output", "runtime") as caught:
        run(Sh(), {"_command": f"echo '{text}' > \"$DAGRUN_OUT\""})
    assert "$DAGRUN_OUT" in caught.value.message


def test_a_task_that_fails_hands_its_values_to_its_error_handler(run, fails):
    with fails("command_failed", "runtime") as caught:
        run(Sh(), {"_command": """echo '{"msg": "half"}' > "$DAGRUN_OUT"; exit 1"""})
    assert caught.value.facts == {"stored": {"msg": "half"}}


def test_of_two_problems_the_command_s_own_is_told(run, fails):
    with fails("command_failed", "runtime") as caught:
        run(Sh(), {"_command": 'echo "{" > "$DAGRUN_OUT"; exit 1'})
    assert caught.value.facts == {}
