"""Interpreters of this machine, by version: a program counts when it runs and says that version, whatever it is called.

    named("python", "3.12")   the program that a task asks for so, or what is missing
    find("python", "3.12")    the first one of that version, or None

Looked for on PATH, then where version managers and uv keep theirs. A shim that only says that it has nothing to start is passed
over; a `python` that is a 2.7 in disguise is, too. Of a shim the program is taken that it starts here: in the directory of a task it
might start another one. Nothing is installed or downloaded.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator, Sequence
from functools import lru_cache
from glob import glob

from dagrun.light import NamedTuple

PROBE_SECONDS = 2.0
_NAME_ANOTHER = "name the path of another one; dagrun doctor lists those that are there"
VERSION = re.compile(r"\d+(\.\d+)*\Z")
_ALMOST = re.compile(r"[\d<>=~!^]")  # begins what was meant to be a version
_SAID = re.compile(r"\d+\.\d+(\.\d+)*")


class Language(NamedTuple):
    """How one asks it for its version and its path, and where its interpreters lie: `{}` stands for the wanted version."""

    names: Sequence[str]  # on PATH, the most likely first
    ask: Sequence[str]
    where: Sequence[str]
    places: Sequence[str]  # patterns of paths


LANGUAGES = {
    "python": Language(
        ("python{}", "python3", "python"),
        ("-I", "-S", "-c", "import sys; print('%d.%d.%d' % sys.version_info[:3])"),
        ("-I", "-S", "-c", "import sys; print(sys.executable)"),
        (
            "$PYENV_ROOT/versions/{}*/bin/python",
            "~/.pyenv/versions/{}*/bin/python",
            "~/.local/share/uv/python/cpython-{}*/bin/python3",
            "~/.asdf/installs/python/{}*/bin/python",
            "/opt/python/{}*/bin/python3",
        ),
    ),
    "ruby": Language(
        ("ruby{}", "ruby"),
        ("--disable=gems", "-e", "puts RUBY_VERSION"),
        ("--disable=gems", "-rrbconfig", "-e", "puts RbConfig.ruby"),
        (
            "$RBENV_ROOT/versions/{}*/bin/ruby",
            "~/.rbenv/versions/{}*/bin/ruby",
            "~/.rubies/ruby-{}*/bin/ruby",
            "~/.asdf/installs/ruby/{}*/bin/ruby",
        ),
    ),
    "node": Language(
        ("node{}", "node", "nodejs"),
        ("-p", "process.versions.node"),
        ("-p", "process.execPath"),
        (
            "$NVM_DIR/versions/node/v{}*/bin/node",
            "~/.nvm/versions/node/v{}*/bin/node",
            "~/.asdf/installs/nodejs/{}*/bin/node",
            "~/.local/share/fnm/node-versions/v{}*/installation/bin/node",
        ),
    ),
}


class Missing(NamedTuple):
    """What isn't there, and what its reader can do: `there is no <what> on this machine`."""

    what: str
    remedy: str


def named(language: str, text: str) -> str | Missing:
    """A version as a program of that version, anything else as the program itself; `~` is the user's directory."""
    if VERSION.match(text):
        example = f", for example with  uv python install {text}" if language == "python" else ""
        return find(language, text) or Missing(f"{language} {text}", f"install it{example}, or {_NAME_ANOTHER}")
    path = os.path.expanduser(text)
    first = path.split()[0] if path.split() else ""
    if "/" in first and (not os.path.isabs(path) or (os.path.isfile(path) and os.access(path, os.X_OK))):
        return path  # a relative one is of the working directory, which isn't there yet
    if first != path:
        return Missing(f"program {text!r}", f"one with arguments is a list: [{', '.join(text.split())}]")
    if "/" in path:
        return Missing(f"program {path}", _NAME_ANOTHER)
    if _ALMOST.match(path):
        return Missing(f"program {text!r}", 'a version is written in numbers, like "3.12"')
    return path


def find(language: str, version: str) -> str | None:
    """The path of an interpreter of that version: "3" is any 3, "3.12" any 3.12."""
    for path in candidates(language, version):
        if is_version(version_of(path, language), version):
            return behind(path, language)
    return None


def installed(language: str) -> list[tuple[str, str]]:
    """Those that can be found, with their versions; the newest first, each version once."""
    found: dict[str, str] = {}
    for path in [*candidates(language, ""), *on_path(re.compile(rf"{language}\d[\d.]*"))]:
        said = version_of(path, language)
        if said is not None:
            found.setdefault(said, path)
    return [
        (behind(path, language), said)
        for said, path in sorted(found.items(), key=lambda item: numbers(item[0]), reverse=True)
    ]


def candidates(language: str, version: str) -> Iterator[str]:
    known = LANGUAGES[language]
    for name in known.names:
        yield from on_path(re.compile(re.escape(name.format(version))))
    for pattern in known.places:
        place = os.path.expanduser(os.path.expandvars(pattern.format(version)))
        if "$" not in place:
            yield from sorted(glob(place), key=numbers, reverse=True)


def on_path(name: re.Pattern[str]) -> Iterator[str]:
    """All programs of PATH that are called so, in its order."""
    for directory in os.environ.get("PATH", os.defpath).split(os.pathsep):
        try:
            entries = sorted(os.listdir(directory or "."))
        except OSError:
            continue
        for entry in entries:
            path = os.path.join(directory, entry)
            if name.fullmatch(entry) and os.access(path, os.X_OK):
                yield path


def version_of(path: str, language: str) -> str | None:
    """What the program says of itself, None if it doesn't work."""
    said = _answer(path, LANGUAGES[language].ask)
    return said if said is not None and _SAID.fullmatch(said) else None


def behind(path: str, language: str) -> str:
    """The program that a shim of a version manager starts; they all call their directory so. Any other one is itself."""
    if os.path.basename(os.path.dirname(path)) != "shims":
        return path
    said = _answer(path, LANGUAGES[language].where)
    return said if said and os.access(said, os.X_OK) else path


def _answer(path: str, arguments: Sequence[str]) -> str | None:
    """What the program prints. Asked once as long as the file stays the same, and answers."""
    try:
        status = os.stat(path)
        return _asked(path, arguments, status.st_mtime_ns, status.st_size)
    except (OSError, subprocess.TimeoutExpired):  # not remembered: perhaps the machine is busy now
        return None


@lru_cache(maxsize=1024)
def _asked(path: str, arguments: Sequence[str], *_: int) -> str | None:
    ended = subprocess.run(
        [path, *arguments], stdin=subprocess.DEVNULL, capture_output=True, timeout=PROBE_SECONDS, check=False
    )
    return ended.stdout.decode(errors="replace").strip() if ended.returncode == 0 else None


def is_version(said: str | None, wanted: str) -> bool:
    return said is not None and f"{said}.".startswith(f"{wanted}.")


def numbers(text: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", text)]
