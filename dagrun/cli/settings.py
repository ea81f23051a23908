"""Settings of the person who runs dagrun: Digdag's properties file, and the environment (spec/cli 2.2).

Lowest to highest: the configuration file, `DAGRUN_CONFIG` or `DIGDAG_CONFIG` (contents), the file given with `-c`. Of
Digdag's keys `params.*` and `secrets.*` are read here.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, NamedTuple

from dagrun.errors import NotFound


class Settings(NamedTuple):
    values: Mapping[str, str]

    @property
    def params(self) -> dict[str, Any]:
        """`params.a.b=v` as nested maps."""
        params: dict[str, Any] = {}
        for key, value in self.values.items():
            if key.startswith("params."):
                set_nested(params, key.removeprefix("params."), value)
        return params


def load_settings(environment: Mapping[str, str], file: str | None = None) -> Settings:
    values: dict[str, str] = {}
    if file is None:
        for home in config_homes(environment):
            text = read(os.path.join(home, "config"))
            if text is not None:
                values.update(parse_properties(text))
                break
    inline = environment.get("DAGRUN_CONFIG") or environment.get("DIGDAG_CONFIG")
    if inline:
        values.update(parse_properties(inline))
    if file is not None:
        text = read(file)
        if text is None:
            raise NotFound("configuration file", file)
        values.update(parse_properties(text))
    return Settings(values)


def config_homes(environment: Mapping[str, str]) -> list[str]:
    """Where a configuration may lie, dagrun's own before Digdag's."""
    homes = [environment[name] for name in ("DAGRUN_CONFIG_HOME", "DIGDAG_CONFIG_HOME") if environment.get(name)]
    base = environment.get("XDG_CONFIG_HOME") or os.path.join(environment.get("HOME", "/"), ".config")
    return [*homes, os.path.join(base, "dagrun"), os.path.join(base, "digdag")]


def read(path: str) -> str | None:
    try:
        with open(path, encoding="utf-8") as file:
            return file.read()
    except (FileNotFoundError, NotADirectoryError):
        return None


def parse_properties(text: str) -> dict[str, str]:
    """Java's properties format as people write it: `key = value`, `#` and `!` comments, `\\` at the end goes on."""
    values: dict[str, str] = {}
    for line in text.replace("\\\n", "").splitlines():
        line = line.strip()
        if not line or line[0] in "#!":
            continue
        cut = min((line.index(sign) for sign in "=:" if sign in line), default=None)
        key, value = (line, "") if cut is None else (line[:cut], line[cut + 1 :])
        values[key.strip()] = value.strip()
    return values


def set_nested(params: dict[str, Any], dotted: str, value: Any) -> None:
    """Set `a.b` in nested maps. Raises ValueError when `a` is no map."""
    *path, last = dotted.split(".")
    for name in path:
        inner = params.setdefault(name, {})
        if not isinstance(inner, dict):
            raise ValueError(f"{name} is not a map")
        params = inner
    params[last] = value
