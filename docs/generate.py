"""Writes what documents say of tables in the code: states in ARCHITECTURE.md, options in the operators' pages.

`python docs/generate.py` writes it between its markers; a test compares.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from dagrun.core.state import DONE, STATES, TRANSITIONS
from dagrun.plugins import registry
from dagrun.plugins.describe import kind_of
from dagrun.plugins.operator import Option

ROOT = Path(__file__).parents[1]


def main() -> None:
    for path, text in documents():
        path.write_text(text, encoding="utf-8")


def documents() -> Iterator[tuple[Path, str]]:
    """Each document with what is written into it, as it has to be now. Raises ValueError when a marker is missing."""
    path = ROOT / "ARCHITECTURE.md"
    yield path, filled(path, "states", f"{diagram()}\n{states()}")
    for name in registry.OPERATORS_HERE:
        path = ROOT / "docs" / "operators" / f"{name}.md"
        yield path, filled(path, "options", options(name, registry.OPERATORS.load(name)().options))


def filled(path: Path, what: str, content: str) -> str:
    text = path.read_text(encoding="utf-8")
    first, last = f"<!-- {what}: written by docs/generate.py -->\n", f"<!-- /{what} -->\n"
    before, begin, rest = text.partition(first)
    _, end, after = rest.partition(last)
    if not begin or not end:
        raise ValueError(f"{path.name} has no place for the {what}, between {first.strip()} and {last.strip()}")
    return f"{before}{begin}\n{content}\n{end}{after}"


def diagram() -> str:
    lines = ["```mermaid", "stateDiagram-v2", "    [*] --> blocked"]
    lines += [f"    {before} --> {after}" for before, after in TRANSITIONS]
    lines += [f"    {state} --> [*]" for state in STATES if state in DONE]
    return "\n".join([*lines, "```", ""])


def states() -> str:
    rows = [f"| {before} | {after} | {reason} |" for (before, after), reason in TRANSITIONS.items()]
    return "\n".join(["| from | to | when |", "|---|---|---|", *rows, ""])


def options(operator: str, table: tuple[Option, ...]) -> str:
    """Options first, then the secrets that it looks for."""
    found = [option for option in table if option.kind != "secret"]
    rows = [
        f"| `{operator if option.name == '_command' else option.name}{'>' if option.name == '_command' else ''}` "
        f"| {kind_of(option, '`')} | {option.default} | {option.meaning} |"
        for option in found
    ]
    secrets = [f"| `{option.name}` | {option.meaning} |" for option in table if option.kind == "secret"]
    lines = ["| option | type | default | |", "|---|---|---|---|", *rows, ""]
    return "\n".join([*lines, "| secret | |", "|---|---|", *secrets, ""] if secrets else lines)


if __name__ == "__main__":
    main()
