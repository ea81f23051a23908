"""Results of third-party operators on their way between two processes, as JSON.

    encode(result)  -> kind and fields      on the operator's side
    decode(text)    -> Answer               on the engine's side, which trusts nothing: raises Nonsense

What the engine is given has the types that it says, or there is nothing: a result may be nonsense by mistake or on purpose.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from dagrun.core.kinds import is_unicode
from dagrun.plugins.operator import Again, Command, Result, Subtask, Subtasks, Succeeded, TaskFailed, TryFile

LARGEST = 10_000_000  # bytes of a result, as of a workflow file
DEEPEST = 100  # levels of maps and lists, as in a workflow file
LONGEST_WAIT = 366 * 86_400.0  # seconds; who waits longer has made a mistake


class Nonsense(ValueError):
    """What is no result; the text says why."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of the call: a result, or a failure with what its class says about retries."""

    result: Result | Command | None = None
    failure: TaskFailed | None = None
    retries: bool = True  # whether the task's `_retry` covers this failure
    warnings: Sequence[str] = ()


# -- the operator's side


def encode(result: object) -> dict[str, Any]:
    """The kind of the result and its fields as JSON values. Raises Nonsense for what is none."""
    if isinstance(result, Command):
        return {"kind": "command", "result": encode_command(result)}
    if isinstance(result, Succeeded):
        return {"kind": "succeeded", "result": plain(result)}
    if isinstance(result, Again):
        return {"kind": "again", "result": plain(result)}
    shown = repr(result)
    shown = shown if len(shown) <= 100 else f"{shown[:97]}..."
    raise Nonsense(f"it returned {shown}; it must return Succeeded, Again or Command")


def encode_failure(failure: TaskFailed) -> dict[str, Any]:
    texts = {name: str(getattr(failure, name)) for name in ("message", "kind")}
    category = failure.category if failure.category is None else str(failure.category)
    return {"failed": {**texts, "category": category, "platform": bool(failure.platform), "facts": failure.facts}}


def plain(value: Any) -> Any:
    """A result as JSON values: named tuples become maps."""
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        return {name: plain(item) for name, item in value._asdict().items()}
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, list | tuple) else value


def encode_command(result: Command) -> dict[str, Any]:
    return {
        "argv": [encode_word(word) for word in result.argv],
        "environment": {name: encode_word(word) for name, word in result.environment.items()},
        "files": {name: encode_file(content) for name, content in result.files.items()},
        "secrets": list(result.secrets),
        "image": result.image,
        "workdir_on_path": result.workdir_on_path,
    }


def encode_word(word: str | TryFile) -> Any:
    return {"file": word.name} if isinstance(word, TryFile) else word


def encode_file(content: str | bytes) -> Any:
    return {"base64": base64.b64encode(content).decode("ascii")} if isinstance(content, bytes) else content


# -- the engine's side


def decode(text: str) -> Answer:
    try:
        data = json.loads(text, parse_constant=refuse)
    except (ValueError, RecursionError) as problem:
        raise Nonsense(f"its result is not JSON: {problem}") from None
    check_depth(data)
    if "\\ud" in text.lower():
        check_texts(data)
    given = Reader("", data)
    warnings, retries = given.texts("warnings"), given.boolean("retries")
    if "failed" in given.map:
        return Answer(failure=decode_failure(given.part("failed")), retries=retries, warnings=warnings)
    decoder = DECODERS.get(given.text("kind"))
    if decoder is None:
        raise Nonsense(f"its result is of no known kind: {given.text('kind')[:100]}")
    return Answer(decoder(given.part("result")), retries=retries, warnings=warnings)


class Reader:
    """A map whose fields are as asked for. `name` is what messages call it."""

    def __init__(self, name: str, value: Any) -> None:
        if not isinstance(value, dict):
            self.refuse_value(name or "its result", "a map")
        self.map: dict[str, Any] = value
        self.prefix = f"{name}." if name else ""

    def refuse_value(self, name: str, expected: str) -> NoReturn:
        raise Nonsense(f"{name} must be {expected}")

    def field(self, key: str, types: type | tuple[type, ...], expected: str) -> Any:
        value = self.map.get(key)
        if not isinstance(value, types) or (isinstance(value, bool) and types is not bool):
            self.refuse_value(f"{self.prefix}{key}", expected)
        return value

    def text(self, key: str) -> str:
        return str(self.field(key, str, "a text"))

    def optional_text(self, key: str) -> str | None:
        return None if self.map.get(key) is None else self.text(key)

    def boolean(self, key: str) -> bool:
        return bool(self.field(key, bool, "true or false"))

    def number(self, key: str) -> float:
        return float(self.field(key, (int, float), "a number"))

    def values(self, key: str) -> dict[str, Any]:
        return dict(self.field(key, dict, "a map"))

    def optional_values(self, key: str) -> dict[str, Any] | None:
        return None if self.map.get(key) is None else self.values(key)

    def items(self, key: str) -> list[Any]:
        return list(self.field(key, list, "a list"))

    def texts(self, key: str) -> tuple[str, ...]:
        items = self.items(key)
        if not all(isinstance(item, str) for item in items):
            self.refuse_value(f"{self.prefix}{key}", "a list of texts")
        return tuple(items)

    def part(self, key: str) -> Reader:
        # Of what people write, fields are named as there: `stored`, not `result.stored`.
        return Reader("" if key in ("result", "failed") else f"{self.prefix}{key}", self.map.get(key))


def decode_failure(given: Reader) -> TaskFailed:
    return TaskFailed(
        given.text("message"), given.text("kind"), given.optional_text("category"), platform=given.boolean("platform"),
        facts=given.values("facts"),
    )  # fmt: skip


def decode_succeeded(given: Reader) -> Succeeded:
    return Succeeded(
        stored=given.values("stored"),
        exported=given.values("exported"),
        reset=given.texts("reset"),
        subtasks=None if given.map.get("subtasks") is None else decode_subtasks(given.part("subtasks")),
        reason=given.optional_text("reason"),
    )


def decode_subtasks(given: Reader) -> Subtasks:
    items = [Reader("subtasks.items", item) for item in given.items("items")]
    return Subtasks(
        config=given.optional_values("config"),
        items=tuple(Subtask(item.text("name"), item.values("config"), item.values("data")) for item in items),
        options=given.values("options"),
    )


def decode_again(given: Reader) -> Again:
    after = given.number("after")
    if not 0 <= after <= LONGEST_WAIT:  # also what is no number at all
        raise Nonsense(f"after must be a number of seconds, at most a year; it is {after:g}")
    wake_on = given.map.get("wake_on")
    return Again(after, given.values("memo"), None if wake_on is None else int(given.number("wake_on")))


def decode_command(given: Reader) -> Command:
    argv = tuple(decode_word("argv", word) for word in given.items("argv"))
    if not argv:
        raise Nonsense("argv must name a program")
    environment, files = given.values("environment"), given.values("files")
    for name in environment:
        if not name or "=" in name or "\0" in name:
            raise Nonsense(f"environment: {name!r} can't be the name of a variable")
    return Command(
        argv=argv,
        environment={name: decode_word(f"environment.{name}", word) for name, word in environment.items()},
        files={file_name(name): decode_file(name, content) for name, content in files.items()},
        secrets=tuple(secret for secret in given.texts("secrets") if secret),
        image=given.optional_values("image"),
        workdir_on_path=given.boolean("workdir_on_path"),
    )


def decode_word(name: str, word: Any) -> str | TryFile:
    if isinstance(word, dict):
        return TryFile(file_name(Reader(name, word).text("file")))
    if not isinstance(word, str) or "\0" in word:
        raise Nonsense(f"{name} must be a text or a TryFile, without NUL")
    return word


def file_name(name: str) -> str:
    """Files of a try lie in its own directory, and nowhere else."""
    if not name or name in (".", "..") or "/" in name or "\0" in name or len(name.encode()) > 255:
        raise Nonsense(f"{name[:100]!r} can't be the name of a file of the try: it must be a plain one")
    return name


def decode_file(name: str, content: Any) -> str | bytes:
    if isinstance(content, dict):
        try:
            return base64.b64decode(Reader(name, content).text("base64"), validate=True)
        except ValueError:
            raise Nonsense(f"files.{name} is no base64") from None
    if not isinstance(content, str):
        raise Nonsense(f"files.{name} must be a text or bytes")
    return content


DECODERS: Mapping[str, Any] = {"succeeded": decode_succeeded, "again": decode_again, "command": decode_command}


def check_depth(data: Any) -> None:
    level, depth = [data] if isinstance(data, dict | list) else [], 0
    while level:
        if depth > DEEPEST:
            raise Nonsense(f"its result has more than {DEEPEST} levels of maps and lists")
        parts = (part.values() if isinstance(part, dict) else part for part in level)
        level = [item for part in parts for item in part if isinstance(item, dict | list)]
        depth += 1


def check_texts(data: Any) -> None:
    """Halves of characters, which JSON can spell and no database takes."""
    if not is_unicode(json.dumps(data, ensure_ascii=False)):
        raise Nonsense("a text of its result is no valid Unicode")


def refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not a JSON value")
