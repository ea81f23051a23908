"""rb>: what the runner calls and how, with a real Ruby."""

from __future__ import annotations

import pytest

from dagrun.plugins.operator import Succeeded, TryFile
from dagrun.plugins.testing import context
from dagrun_operators.rb import Rb
from tests.missing import need


@pytest.fixture(autouse=True)
def ruby():
    need("ruby")


TASKS = """
class W
  def initialize(z = 0); @z = z; end
  def plain(a, b = 2); puts "plain #{a} #{b}"; end
  def self.cls(a); puts "cls #{a}"; end
  def kw(a:, b: 5); puts "kw #{a} #{b}"; end
  def rest(a, *more, **all); puts "rest #{a} #{more} #{all.keys}"; end
  def gap(a = 1, b = 2); puts "gap #{a} #{b}"; end
  def mixed(a = 1, b); puts "mixed #{a} #{b}"; end
  def z; puts "z #{@z}"; end
  def st; Digdag.env.store(v: 1); Digdag.env.store({"w" => [1, nil]}); Digdag.env.store("x" => 2); end
  def ex; Digdag.env.export(e: "E"); end
  def gen
    Digdag.env.add_subtask(W, :plain, a: 9)
    Digdag.env.add_subtask(:W, :cls, a: 1)
    Digdag.env.add_subtask(:top, a: 1)
    Digdag.env.add_subtask({"echo>" => "x"})
    Digdag.env.subtask_config["_parallel"] = true
  end
  def badgen; Digdag.env.add_subtask(W, :nope); end
  def par; puts Digdag.env.params["s"], DigdagEnv::PARAMS["s"]; end
  def boom; raise "bad thing"; end
  def notyet; raise NotImplementedError, "later"; end
  def nan; Digdag.env.store(x: 0.0 / 0); end
  def ex0; Digdag.env.store(x: 1); exit; end
  def ex3; exit 3; end
  def die; exit! 7; end
end
module Deep
  class Inner
    def initialize(key:); @key = key; end
    def m; puts "inner #{@key}"; end
  end
  def self.f(a); puts "deep #{a}"; end
end
class NeedsArgument
  def initialize(q); end
  def m; end
end
def top(a); puts "top #{a}"; end
"""


@pytest.fixture
def rb(run):
    run.write({"lib/w.rb": TASKS})

    def call(name, **params):
        return run(Rb(), {"_command": name, "require": "lib/w", **params})

    return call


@pytest.mark.parametrize(
    ("name", "params", "printed"),
    [
        ("top", {"a": "x"}, "top x"),
        ("W.plain", {"a": 1}, "plain 1 2"),
        ("::W.plain", {"a": 1, "b": 3}, "plain 1 3"),
        ("W.cls", {"a": 1}, "cls 1"),
        ("W.kw", {"a": 1}, "kw 1 5"),
        ("W.rest", {"a": 1}, "rest 1 [] [:_command, :require, :a]"),
        ("W.gap", {"b": 7}, "gap 1 2"),
        ("W.mixed", {"b": 7}, "mixed 1 7"),
        ("W.z", {"z": 4}, "z 4"),
        ("W.par", {"s": "é"}, "é\né"),
        ("Deep::Inner.m", {"key": 3}, "inner 3"),
        ("Deep.f", {"a": 1}, "deep 1"),
    ],
)
def test_the_method_is_found_and_gets_its_parameters(name, params, printed, rb, run):
    rb(name, **params)
    assert run.output == printed + "\n"


@pytest.mark.parametrize(
    ("name", "code", "message"),
    [
        ("W.plain", 1, "plain needs a, and there is no variable of that name (ArgumentError)"),
        ("W.kw", 1, "kw needs a, and there is no variable of that name (ArgumentError)"),
        ("NeedsArgument.m", 1, "NeedsArgument needs q"),
        ("W.nope", 1, "nope"),
        ("Nope.m", 1, "uninitialized constant Nope (NameError)"),
        ("nope", 1, "nope"),
        ("W.boom", 1, "bad thing (RuntimeError)"),
        ("W.notyet", 1, "later (NotImplementedError)"),
        ("W.badgen", 1, "undefined method: W.nope (ArgumentError)"),
        ("W.nan", 1, "NaN"),
        ("W.ex3", 3, "exit(3) (SystemExit)"),
    ],
)
def test_a_failure_names_its_reason(name, code, message, rb, run, fails):
    with fails("command_failed", "runtime") as caught:
        rb(name)
    assert caught.value.message.startswith(f"Ruby command failed with code {code}: ")
    assert message in caught.value.message
    assert run.output != ""


def test_a_feature_that_cannot_be_loaded(rb, run, fails):
    run.write({"lib/broken.rb": "def ("})
    with fails("command_failed", "runtime") as caught:
        rb("top", require="lib/nowhere")
    assert "lib/nowhere. The interpreter is /" in caught.value.message
    with fails("command_failed", "runtime") as caught:
        rb("top", require="lib/broken")
    assert "SyntaxError" in caught.value.message


def test_a_process_that_tells_nothing(rb, fails):
    with fails("command_failed", "runtime") as caught:
        rb("W.die")
    assert caught.value.message == "Ruby command failed with code 7"


def test_what_the_code_gives_back(rb):
    assert rb("W.st") == Succeeded(stored={"v": 1, "w": [1, None], "x": 2})
    assert rb("W.ex") == Succeeded(exported={"e": "E"})
    assert rb("W.ex0") == Succeeded(stored={"x": 1})
    assert rb("W.gen").subtasks.config == {
        "+subtask0": {"rb>": "::W.plain", "a": 9},
        "+subtask1": {"rb>": "::W.cls", "a": 1},
        "+subtask2": {"rb>": "top", "a": 1},
        "+subtask3": {"echo>": "x"},
        "_parallel": True,
    }


def test_a_program_in_script(run):
    text = 'require "json"; File.write(ARGV[1], JSON.generate(store_params: JSON.parse(File.read(ARGV[0]))["params"]))'
    assert run(Rb(), {"script": text, "v": "V"}).stored["v"] == "V"


def test_the_command():
    command = Rb().run(context({"_command": "W.m", "rb": {"require": "w", "ruby": ["bundle", "exec", "ruby"]}}))
    files = [TryFile(name) for name in ("runner.rb", "input.json", "output.json")]
    assert command.argv == ["bundle", "exec", "ruby", "-I", ".", "--", files[0], "W.m", *files[1:], "w"]
