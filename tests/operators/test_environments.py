"""`python: uv:requirements.txt`: an environment that uv makes once, without a network: of a package in the project."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import pytest

from tests.daemon.site import Site
from tests.missing import give_up

PACKAGE = """
[build-system]
requires = ["flit_core"]
build-backend = "back"
backend-path = ["."]
[project]
name = "harbour"
version = "1"
"""
# A build backend of twenty lines: a wheel with one module.
BACKEND = """
import os, zipfile
def build_wheel(directory, *_):
    name = "harbour-1-py3-none-any.whl"
    with zipfile.ZipFile(os.path.join(directory, name), "w") as wheel:
        wheel.writestr("harbour.py", "ships = 3\\n")
        wheel.writestr("harbour-1.dist-info/METADATA", "Metadata-Version: 2.1\\nName: harbour\\nVersion: 1\\n")
        wheel.writestr("harbour-1.dist-info/WHEEL", "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
        wheel.writestr("harbour-1.dist-info/RECORD", "")
    return name
def get_requires_for_build_wheel(*_): return []
"""
TASK = "import digdag, harbour\ndef f():\n    digdag.env.store({'ships': harbour.ships})\n"


@pytest.fixture
def site(tmp_path):
    made = Site(tmp_path)
    programs = f"{os.path.dirname(sys.executable)}:{os.environ['PATH']}"  # uv comes with the packages for development
    if shutil.which("uv", path=programs) is None:
        give_up("uv is not installed")
    (made.place / "package").mkdir()
    (made.place / "package" / "pyproject.toml").write_text(PACKAGE.replace('requires = ["flit_core"]', "requires = []"))
    (made.place / "package" / "back.py").write_text(BACKEND)
    made.more_environment = {"UV_OFFLINE": "1", "UV_NO_CONFIG": "1", "PATH": programs}
    yield made
    made.close()


def caches(site: Site) -> list[str]:
    return [path.name for path in (site.place / "home" / ".cache" / "dagrun" / "python").glob("*") if path.is_dir()]


def test_an_environment_is_made_once_for_all_that_want_it(site: Site):
    site.write(
        {
            "req.txt": f"{site.place}/package\n",
            "t.py": TASK,
            "w.dig": "_export: {py: {python: 'uv:req.txt'}}\n+all:\n  _parallel: true\n  +a: {py>: t.f}\n  +b: {py>: t.f}\n"
            "+c: {echo>: 'ships ${ships}'}\n",
        }
    )
    printed = site.call("run", "w.dig")
    assert "ships 3\n" in printed
    assert printed.count("making an environment for req.txt") == 1
    assert len(caches(site)) == 1
    assert "making an environment" not in site.call("run", "w.dig", "--rerun")


def test_another_one_is_made_when_what_it_is_made_from_changes(site: Site):
    """A file that is included, and a package that lies in the project."""
    task = "def f():\n    try:\n        import harbour\n        print('ships', harbour.ships)\n    except ImportError:\n        print('none')\n"
    files = {"t.py": task, "w.dig": "+a: {py>: t.f, python: 'uv:req/all.txt'}\n"}
    (site.directory / "req").mkdir()
    (site.directory / "req" / "all.txt").write_text("# all\n-r more.txt\n-c=none.txt\n")
    (site.directory / "req" / "none.txt").write_text("")
    (site.directory / "req" / "more.txt").write_text("-r all.txt\n")
    site.write(files)
    assert "none\n" in site.call("run", "w.dig")
    (site.directory / "req" / "more.txt").write_text("./package\n")
    (site.place / "package").rename(site.directory / "package")
    assert "ships 3\n" in site.call("run", "w.dig", "--rerun")
    (site.directory / "package" / "back.py").write_text(BACKEND.replace("ships = 3", "ships = 4"))
    assert "ships 4\n" in site.call("run", "w.dig", "--rerun")
    assert len(caches(site)) == 3


def test_one_that_lost_its_interpreter_is_made_anew(site: Site):
    site.write({"req.txt": f"{site.place}/package\n", "t.py": TASK, "w.dig": "+a: {py>: t.f, python: 'uv:req.txt'}\n"})
    site.call("run", "w.dig")
    for path in (site.place / "home" / ".cache" / "dagrun" / "python").glob("*/bin/python*"):
        path.unlink()
    assert "making an environment" in site.call("run", "w.dig", "--rerun")


@pytest.mark.parametrize(
    ("requirements", "words"),
    [
        ("-e ./package\n", "write the path without -e"),
        ("-r nowhere.txt\n", "nowhere.txt can't be read: No such file or directory"),
    ],
)
def test_requirements_that_can_not_work_are_told(site: Site, requirements: str, words: str):
    site.write({"req.txt": requirements, "t.py": TASK, "w.dig": "+a: {py>: t.f, python: 'uv:req.txt'}\n"})
    assert words in site.call("run", "w.dig", code=1)
    assert caches(site) == []


def test_a_cache_that_can_not_be_written_to_is_told(site: Site):
    site.more_environment["XDG_CACHE_HOME"] = f"{site.log}"  # a file
    site.write({"req.txt": "", "t.py": TASK, "w.dig": "+a: {py>: t.f, python: 'uv:req.txt'}\n"})
    assert "let XDG_CACHE_HOME name a directory" in site.call("run", "w.dig", code=1)


def test_one_that_can_not_be_made_is_told_and_leaves_nothing(site: Site):
    site.write(
        {"req.txt": "no-such-package-anywhere==1\n", "t.py": TASK, "w.dig": "+a: {py>: t.f, python: 'uv:req.txt'}\n"}
    )
    printed = site.call("run", "w.dig", code=1)
    assert "no-such-package-anywhere" in printed
    assert "the environment for req.txt can't be made" in printed
    assert caches(site) == []


def test_what_a_file_of_requirements_includes_counts(site: Site):
    (site.directory / "more").mkdir()
    site.write(
        {
            "req.txt": "# two files\n-r more/a.txt\n",
            "more/a.txt": f"--constraint=b.txt\n{site.place}/package  # here\n",
            "more/b.txt": "",
            "t.py": "def f(): pass\n",
            "w.dig": "+a: {py>: t.f, python: 'uv:req.txt'}\n",
        }
    )
    making = "making an environment"
    assert making in site.call("run", "w.dig")
    assert making not in site.call("run", "w.dig", "--rerun")
    site.write({"more/b.txt": "harbour==1\n"})
    assert making in site.call("run", "w.dig", "--rerun")


def test_a_version_really_runs(site: Site):
    """Of the interpreters of this machine another one than ours, if there is one."""
    from dagrun.plugins.programs import installed

    path, version = installed("python")[0]
    site.more_environment |= {"PYENV_ROOT": os.environ.get("PYENV_ROOT") or os.path.expanduser("~/.pyenv")}
    wanted = ".".join(version.split(".")[:2])
    site.write(
        {
            "t.py": "import sys\ndef f():\n    print('is', sys.version_info[:2])\n",
            "w.dig": f"+a: {{py>: t.f, python: '{wanted}'}}\n",
        }
    )
    assert f"is ({wanted.replace('.', ', ')})\n" in site.call("run", "w.dig")
    assert subprocess.run([path, "-c", "pass"], check=False).returncode == 0
