"""Settings of the person who runs dagrun: `config.toml`, Digdag's properties file, the environment (spec/cli 2.2).

Lowest to highest: the configuration file, `DAGRUN_CONFIG` or `DIGDAG_CONFIG` (contents), the file given with `-c`. The
first file that is there counts: dagrun's own (`config.toml`) before Digdag's (`config`). Of their keys `params.*` and
`secrets.*` are read here; in TOML these are tables.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from typing import Any

from dagrun.errors import NotFound, UserError
from dagrun.light import NamedTuple, pattern

BLANKS = " \t\f"
PAIR = pattern(r"((?:[^\\=: \t\f]|\\.)*)[ \t\f]*[=:]?[ \t\f]*(.*)", re.DOTALL)  # the sign may be missing: `key value`
ESCAPE = pattern(r"\\(?:u([0-9a-fA-F]{4})|(.?))", re.DOTALL)
LETTERS = {"t": "\t", "n": "\n", "r": "\r", "f": "\f"}


class Settings(NamedTuple):
    values: Mapping[str, Any]  # by dotted key; texts, unless TOML says otherwise

    @property
    def params(self) -> dict[str, Any]:
        """`params.a.b=v` as nested maps. Raises UserError where `params.a` has a value of its own."""
        params: dict[str, Any] = {}
        for key, value in self.values.items():
            if key.startswith("params."):
                try:
                    set_nested(params, key.removeprefix("params."), value)
                except ValueError as problem:
                    raise UserError(f"{key} in the settings: {problem}") from None
        return params


def load_settings(environment: Mapping[str, str], file: str | None = None) -> Settings:
    values: dict[str, Any] = {}
    if file is None:
        paths = [os.path.join(home, name) for home in config_homes(environment) for name in ("config.toml", "config")]
        values = next((found for path in paths if (found := read_settings(path)) is not None), {})
    inline = environment.get("DAGRUN_CONFIG") or environment.get("DIGDAG_CONFIG")
    if inline:
        values.update(parse_properties(inline))
    if file is not None:
        given = read_settings(file)
        if given is None:
            raise NotFound("configuration file", file)
        values.update(given)
    return Settings(values)


def config_homes(environment: Mapping[str, str]) -> list[str]:
    """Where a configuration may lie, dagrun's own before Digdag's."""
    homes = [environment[name] for name in ("DAGRUN_CONFIG_HOME", "DIGDAG_CONFIG_HOME") if environment.get(name)]
    base = environment.get("XDG_CONFIG_HOME") or os.path.join(environment.get("HOME", "/"), ".config")
    return [*homes, os.path.join(base, "dagrun"), os.path.join(base, "digdag")]


def read_settings(path: str) -> dict[str, Any] | None:
    """The settings of a file by dotted key, None if it isn't there. Raises UserError."""
    try:
        with open(path, encoding="utf-8") as file:
            text = file.read()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, UnicodeDecodeError) as problem:
        raise UserError(f"{path}: can't be read as settings: {problem}") from None
    return parse_toml(text, path) if path.endswith(".toml") else dict(parse_properties(text))


def parse_toml(text: str, path: str) -> dict[str, Any]:
    import tomllib

    try:
        return flat(tomllib.loads(text))
    except tomllib.TOMLDecodeError as problem:
        raise UserError(f'{path}: {problem}\n  write TOML, such as  params.day = "monday"') from None


def flat(tables: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested tables as dotted keys."""
    found: dict[str, Any] = {}
    for key, value in tables.items():
        found |= flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return found


def parse_properties(text: str) -> dict[str, str]:
    """Java's properties format: `key = value`, `#` and `!` comments, escapes, `\\` at the end of a line goes on."""
    pairs = [pair.groups() for line in logical_lines(text) if (pair := PAIR.match(line))]
    return {unescaped(key): unescaped(value) for key, value in pairs}


def logical_lines(text: str) -> Iterator[str]:
    """The lines that hold something, without blanks in front, each with those that go on with it."""
    lines = iter(text.replace("\r\n", "\n").replace("\r", "\n").split("\n"))
    for line in lines:
        line = line.lstrip(BLANKS)
        if not line or line[0] in "#!":
            continue
        while (len(line) - len(line.rstrip("\\"))) % 2:  # of two backslashes the first one is no mark but an escape
            line = line[:-1] + next(lines, "").lstrip(BLANKS)
        yield line


def unescaped(text: str) -> str:
    if "\\" not in text:
        return text
    text = ESCAPE.sub(lambda found: chr(int(found[1], 16)) if found[1] else LETTERS.get(found[2], found[2]), text)
    return text.encode("utf-16-le", "surrogatepass").decode(
        "utf-16-le", "replace"
    )  # two halves of a pair are one letter


def set_nested(params: dict[str, Any], dotted: str, value: Any) -> None:
    """Set `a.b` in nested maps. Raises ValueError when `a` is no map."""
    *path, last = dotted.split(".")
    for name in path:
        inner = params.setdefault(name, {})
        if not isinstance(inner, dict):
            raise ValueError(f"{name} is not a map")
        params = inner
    params[last] = value
