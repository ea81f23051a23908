"""What the YAML parser's complaints mean to the person who wrote the file, and what mends them."""

from __future__ import annotations

from typing import Any

import yaml


def explain(error: Any, text: str) -> tuple[str, Any, str | None]:
    """What is wrong, where, and the remedy. The parser's own words are for people who write parsers."""
    if not isinstance(error, yaml.MarkedYAMLError):
        index = error.start if isinstance(error, UnicodeEncodeError) else text.find(chr(error.character))
        hint = "Remove it, or write it as an escape such as \\x07 in double quotes."
        return (
            f"the control character U+{ord(text[index]):04X} can't stand in a file",
            _mark(text, index),
            hint,
        )
    context, mark = error.context_mark, error.problem_mark or error.context_mark
    words, character = f"{error.context}: {error.problem}", ""
    if mark:
        character = text[mark.index : mark.index + 1]
        begin = context.index if context else mark.index
        words += (" (tab)" if character == "\t" else "") + (
            " (template)" if "${" in text[begin : mark.index + 1] else ""
        )
    for parts, message, hint in _EXPLANATIONS:
        if all(part in words for part in parts):
            place = context if "quoted scalar" in parts else mark
            return message.format(character=character, line=context.line + 1 if context else 1), place, hint
    return words.removeprefix("None: "), mark, None


def _mark(text: str, index: int) -> yaml.Mark:
    return yaml.Mark("", index, text.count("\n", 0, index), index - text.rfind("\n", 0, index) - 1, None, 0)


# Words of libyaml or of PyYAML's own parser, what to say instead, the remedy. The first row that fits counts.
_QUOTE = "Put the text in quotes."
_TEMPLATE = "Put the text in quotes: inside { } and [ ] a bare ${...} would open another map."
_COLUMN = "Align the keys of a map, and the `- ` of a list, in one column; quote a text as a whole."
_EXPLANATIONS: tuple[tuple[tuple[str, ...], str, str], ...] = (
    (("any token", "(tab)"), "a tab can't be used as indentation", "Use spaces."),
    (("any token",), "a text can't start with {character}", _QUOTE),
    (
        ("mapping values",),
        "a second `: ` in one line, or a key that is indented wrongly",
        _QUOTE + " " + _COLUMN,
    ),
    (
        ("unknown escape",),
        "an unknown escape in double quotes",
        r"Write \\ for a backslash, or use single quotes.",
    ),
    (
        ("character escape code",),
        "an escape in double quotes that is no character",
        r"Write both halves of a pair, such as \ud83d\ude00, or the character itself.",
    ),
    (("quoted scalar", "end of stream"), "a quote opens here and is never closed", "Close it."),
    (("scanning an alias",), "a text can't start with *, which refers to an anchor", _QUOTE),
    (("scanning an anchor",), "a text can't start with &, which makes an anchor", _QUOTE),
    ((" tag",), "a text can't start with !, which begins a tag", _QUOTE),
    (
        ("flow", "(template)"),
        "${{...}} without quotes between the brackets that open in line {line}",
        _TEMPLATE,
    ),
    (
        ("flow",),
        "the bracket that opens in line {line} isn't closed here",
        "Add a comma or the closing bracket.",
    ),
    (
        ("simple key",),
        "a line without `: `",
        "Write `key: value`, or indent the line if it continues a text.",
    ),
    (("parsing a block",), "this doesn't fit the map or list that begins in line {line}", _COLUMN),
)
