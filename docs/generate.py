"""Writes what ARCHITECTURE.md says about states, from the table in dagrun/core/state.py.

`python docs/generate.py` writes it between its markers; a test compares.
"""

from __future__ import annotations

from pathlib import Path

from dagrun.core.state import DONE, STATES, TRANSITIONS

DOCUMENT = Path(__file__).parents[1] / "ARCHITECTURE.md"
BEGIN = "<!-- states: written by docs/generate.py -->\n"
END = "<!-- /states -->\n"


def main() -> None:
    DOCUMENT.write_text(with_states(DOCUMENT.read_text(encoding="utf-8")), encoding="utf-8")


def with_states(text: str) -> str:
    """The document with the diagram and the table of now. Raises ValueError when a marker is missing."""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{DOCUMENT.name} has no place for the states, between {BEGIN.strip()} and {END.strip()}")
    return f"{before}{BEGIN}\n{diagram()}\n{table()}\n{END}{after}"


def diagram() -> str:
    lines = ["```mermaid", "stateDiagram-v2", "    [*] --> blocked"]
    lines += [f"    {before} --> {after}" for before, after in TRANSITIONS]
    lines += [f"    {state} --> [*]" for state in STATES if state in DONE]
    return "\n".join([*lines, "```", ""])


def table() -> str:
    rows = [f"| {before} | {after} | {reason} |" for (before, after), reason in TRANSITIONS.items()]
    return "\n".join(["| from | to | when |", "|---|---|---|", *rows, ""])


if __name__ == "__main__":
    main()
