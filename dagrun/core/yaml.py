"""The loading of workflow files: from text to maps and lists that know where they stand.

This file owns rules L7 to L19 of spec/language (one document whose top is a map, duplicate keys, anchors and
merge keys, includes) and the limits that Digdag lacks. It reads no files: the text of an included one comes
from a callable. What a scalar means stands in `core.scalars`, what a loaded map means in `core.compiler`.

libyaml gives one event after the other, and `_File` keeps the open maps and lists on a stack of its own. So
there is no tree of nodes and no recursion, and every limit is checked before the memory is spent.
"""

from __future__ import annotations

import posixpath
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import yaml
from yaml import events

from dagrun.core import scalars
from dagrun.core.config import Map, Place, Seq
from dagrun.core.yaml_errors import explain
from dagrun.errors import WorkflowError
from dagrun.light import NamedTuple

MAX_CHARACTERS = 10_000_000  # of a file with all its includes; 50,000 tasks take about 2,000,000
MAX_DEPTH = 100  # of nested maps and lists; far below what recursion in Python can walk
MAX_COPIES = 1_000_000  # values that aliases repeat: they cost nothing here, but everyone after us walks them

try:
    from yaml._yaml import CParser as Parser
except ImportError:  # PyYAML was built without libyaml: some 20 times slower, and refuses a tab at a line's end
    from yaml.parser import Parser as _Parser
    from yaml.reader import Reader
    from yaml.scanner import Scanner

    class Parser(Reader, Scanner, _Parser):  # type: ignore[no-redef]
        def __init__(self, text: str) -> None:
            Reader.__init__(self, text)
            Scanner.__init__(self)
            _Parser.__init__(self)


Include = Callable[[str, str], tuple[str, str]]


def load(text: str, file: str, include: Include | None = None) -> Map:
    """The map that the text of a file holds; its texts with a `$` are Templates.

    `include(including_file, path)` returns the name and the text of an included file, or raises WorkflowError
    with the kind `include_not_found` or `include_outside`. Raises WorkflowError, always with a place.
    """
    return _File(text, file, _Load(include)).read_map()


def decode(data: bytes, file: str) -> str:
    """The text of a file's bytes, with or without a byte order mark. Raises WorkflowError(`not_text`)."""
    data = data.removeprefix(b"\xef\xbb\xbf")
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        wrong, message = 0, "the file is in UTF-16"
    elif (wrong := data.find(b"\0")) >= 0:
        message = "the file is binary"
    else:
        try:
            return data.decode()
        except UnicodeDecodeError as error:
            wrong, message = error.start, f"byte 0x{data[error.start]:02x} is not UTF-8"
    line = data.count(b"\n", 0, wrong) + 1
    column = len(data[data.rfind(b"\n", 0, wrong) + 1 : wrong].decode(errors="replace")) + 1
    hint = "A workflow file is a text; save it as UTF-8."
    raise WorkflowError(message, kind="not_text", file=file, line=line, column=column, hint=hint)


def resolve_include(including_file: str, path: str) -> str:
    """The name of an included file, from a path relative to the directory of the including one (L18).

    Raises WorkflowError(`include_outside`) when it leaves that directory.
    """
    if "\0" in path:
        raise WorkflowError("no file has a NUL in its name", kind="include_not_found", file=including_file)
    directory = posixpath.dirname(including_file)
    target = posixpath.normpath(posixpath.join(directory, path))
    start, parts = _parts(posixpath.normpath(directory)), _parts(target)
    below = parts[len(start) :] if parts[: len(start)] == start else [".."]
    if ".." in below or target.startswith("/") != directory.startswith("/"):
        raise WorkflowError(
            f"the include of '{path}' leaves the directory of its file",
            kind="include_outside",
            file=including_file,
            hint="A file includes only files of its own directory and below. Move the included file there.",
        )
    return target


def _parts(path: str) -> list[str]:
    return [part for part in path.split("/") if part not in ("", ".")]


_MERGE, _INCLUDE = object(), object()  # keys that stand for what they do


class _Frame:
    """A map or list that isn't closed yet."""

    __slots__ = (
        "anchor", "height", "included", "is_map", "key", "mark", "members", "nodes", "place",
        "spelled", "tag", "value",
    )  # fmt: skip

    def __init__(self, value: Map | Seq, event: Any, nodes: int) -> None:
        self.value: Any = value
        self.is_map = isinstance(value, Map)
        self.tag: str | None = event.tag
        self.anchor: str | None = event.anchor
        self.mark = event.start_mark
        self.nodes = nodes  # of the file before this one began
        self.height = 1  # of the levels from here down
        self.key: Any = None  # whose value comes next; None: a key comes next
        self.place: Place = ("", 1, 1)  # of that key
        self.spelled: set[str] = set()  # keys as written, for L9
        self.included: set[str] = set()  # keys that only an include brought: a merge key may replace them
        self.members: dict[str, Any] = {}  # of a !!set: its keys before they became text

    def set(self, value: Any) -> None:
        """Give the open key its value: a literal key replaces merged and included ones, at their place."""
        self.value[self.key] = value
        self.value.places[self.key] = self.place
        if self.included:
            self.included.discard(self.key)

    def merge(self, source: Map) -> None:
        """Add the keys of `source` that nobody has set (L10)."""
        for key in source:
            if key not in self.value or key in self.included:
                self.included.discard(key)
                self.value[key] = source[key]
                self.value.places[key] = source.places[key]

    def include(self, source: Map) -> None:
        """Merge an included map over what is there (L16)."""
        self.included.update(key for key in source if key not in self.value)
        self.value.absorb(source)


@dataclass(slots=True, eq=False, repr=False)
class _Load:
    """What all files of one load share."""

    include: Include | None
    characters: int = 0
    copies: int = 0


class _Anchor(NamedTuple):
    value: Any
    nodes: int  # that the value has, with those that aliases repeat in it
    height: int


class _File:
    """The reading of one file: a handler for each kind of event, and the stack of what is open."""

    def __init__(self, text: str, file: str, load: _Load, chain: tuple[str, ...] = (), depth: int = 0) -> None:
        self.text = text.removeprefix("\ufeff")
        self.file = file
        self.load = load
        self.chain = (*chain, file)
        self.depth = depth  # of the map that includes this file
        self.nodes = 0
        self.documents = 0
        self.anchors: dict[str, _Anchor | None] = {}  # None: still open
        self.top = _Frame(Seq(file), events.SequenceStartEvent(None, None, True), 0)  # holds the document
        self.stack: list[_Frame] = []
        # libyaml knows the escape, SnakeYAML doesn't (L12). Most files have it nowhere.
        self.may_escape_slashes = "\\/" in self.text
        self.readable = scalars.hide_pairs(self.text)

    def read_map(self) -> Map:
        self.load.characters += len(self.text)
        if self.load.characters > MAX_CHARACTERS:
            raise self.error(
                "file_too_large",
                f"more than {MAX_CHARACTERS:,} characters, includes counted",
                hint="Generate the tasks (for_each>, loop>), or split the workflow (call>, require>).",
            )
        self.read()
        document = self.top.value[0] if self.top.value else None
        if not isinstance(document, Map):
            found = "empty" if document is None else "a list" if isinstance(document, list) else "a single value"
            hint = "Write keys: `+task:`, `timezone: UTC`."
            raise self.error("not_a_map", f"a map is expected at the top of the file, but it is {found}", hint=hint)
        return document

    def read(self) -> None:
        handlers = {
            events.ScalarEvent: self.scalar,
            events.MappingStartEvent: self.open_map,
            events.SequenceStartEvent: self.open_list,
            events.MappingEndEvent: self.close,
            events.SequenceEndEvent: self.close,
            events.AliasEvent: self.alias,
            events.DocumentStartEvent: self.document,
        }
        try:
            parser = Parser(self.readable)
            while event := parser.get_event():
                if handle := handlers.get(type(event)):
                    handle(event)
        except (yaml.YAMLError, UnicodeEncodeError) as error:
            raise self.error("yaml_syntax", *explain(error, self.text)) from None

    def document(self, event: Any) -> None:
        self.documents += 1
        if self.documents > 1:
            hint = "Remove the line `---`, or make two files."
            raise self.error("multi_document", "a second document begins here", event.start_mark, hint)

    def scalar(self, event: Any) -> None:
        self.nodes += 1
        if self.readable is not self.text:
            source = self.text[event.start_mark.index : event.end_mark.index]
            event.value = scalars.show_pairs(event.value, event.style, source)
        if self.top.key is None and self.top.is_map and self.is_special_key(event):
            return
        value = self.value(event)
        if event.anchor:
            self.anchors[event.anchor] = _Anchor(value, 1, 0)
        self.put(value, event.start_mark)

    def is_special_key(self, event: Any) -> bool:
        """Whether the key is a merge or an include. Raises WorkflowError if the map has the key already."""
        top, spelling = self.top, event.value
        top.place = self.place(event.start_mark)
        if event.tag == "!include":
            top.key = _INCLUDE
            return True
        if spelling in top.spelled:
            first = top.value.places.get(spelling)
            hint = f"It stands first in line {first[1]}." if first else None
            raise self.error("dup_key", f"the key '{spelling}' appears twice in one map", event.start_mark, hint)
        top.spelled.add(spelling)
        if spelling == "<<" and (event.implicit[0] or event.tag == scalars.MERGE):
            top.key = _MERGE
        elif spelling.startswith("!include:"):
            top.key = _INCLUDE
        return top.key is not None

    def value(self, event: Any) -> Any:
        tag, text = event.tag, event.value
        try:
            if event.implicit[0] or tag == "!":  # libyaml finds nothing implicit in the empty value of `a: !`
                return scalars.plain(text)
            if tag is None:
                if self.may_escape_slashes and event.style == '"':
                    self.refuse_slash_escape(event)
                # L19: a value text is an include, too.
                return self.include(text, event.start_mark) if text.startswith("!include:") else scalars.quoted(text)
            if tag == "!include":
                return self.include(text, event.start_mark)
            return scalars.tagged(self.core_name(event), text)
        except ValueError as error:
            name = _shown_tag(tag) if tag and tag != "!" else "a number"
            hint = "Put the value in quotes if it is a text."
            raise self.error(
                "bad_tag_value", f"'{_short(text)}' doesn't fit {name}: {error}", event.start_mark, hint
            ) from None

    def open_map(self, event: Any) -> None:
        self.open(event, Map, (None, "!", scalars.MAP, scalars.SET))

    def open_list(self, event: Any) -> None:
        self.open(event, Seq, (None, "!", scalars.SEQ, scalars.OMAP, scalars.PAIRS))

    def open(self, event: Any, kind: type[Map] | type[Seq], tags: tuple[str | None, ...]) -> None:
        mark = event.start_mark
        if event.tag not in tags:
            tag = "!include" if event.tag == "!include" else f"!!{self.core_name(event)}"
            raise self.error("bad_tag_value", f"{tag} doesn't fit a {kind.__name__.lower()}", mark)
        self.check_depth(1, mark)
        if event.anchor:
            self.anchors[event.anchor] = None
        self.stack.append(self.top)
        self.top = _Frame(kind(self.file, mark.line + 1, mark.column + 1), event, self.nodes)
        self.nodes += 1

    def close(self, _: Any) -> None:
        frame, self.top = self.top, self.stack.pop()
        try:
            value = scalars.collection(frame.tag, frame.value, frame.members.values())
        except ValueError as error:
            raise self.error("bad_tag_value", f"{_shown_tag(frame.tag)}: {error}", frame.mark) from None
        self.grow(frame.height)
        if frame.anchor:
            self.anchors[frame.anchor] = _Anchor(value, self.nodes - frame.nodes, frame.height)
        self.put(value, frame.mark)

    def alias(self, event: Any) -> None:
        name, mark = event.anchor, event.start_mark
        if name not in self.anchors:
            hint = f"Write the anchor &{name} before its alias, or put a text that starts with * in quotes."
            raise self.error("yaml_syntax", f"there is no anchor for the alias *{name}", mark, hint)
        anchor = self.anchors[name]
        if anchor is None:
            hint = "Move the anchor to a map or list that doesn't hold its alias."
            raise self.error("nesting_too_deep", f"the anchor &{name} contains itself", mark, hint)
        self.check_depth(anchor.height, mark)
        self.nodes += anchor.nodes
        self.load.copies += anchor.nodes
        if self.load.copies > MAX_COPIES:
            hint = "Write a value that is needed often into _export, and refer to it as ${name}."
            raise self.error("alias_bomb", f"aliases repeat more than {MAX_COPIES:,} values", mark, hint)
        self.grow(anchor.height)
        self.put(anchor.value, mark)

    def put(self, value: Any, mark: Any) -> None:
        """Hand a finished value to the open map or list."""
        top, key = self.top, self.top.key
        if not top.is_map:
            top.value.append(value)
        elif key is None:
            self.name(value, mark)
        elif key is _MERGE:
            self.merge(value, mark)
        elif key is _INCLUDE:
            top.include(self.include(value, mark))
        else:
            top.set(value)
        if key is not None:
            top.key = None

    def name(self, value: Any, mark: Any) -> None:
        """Take a value as the key of what comes next (L11)."""
        if value is None:
            raise self.error("null_key", "a key is null", mark, 'Put it in quotes: "null", "~" or "".')
        top = self.top
        top.key = key = scalars.key_text(value)
        top.place = self.place(mark)
        if top.tag == scalars.SET:
            top.members.setdefault(key, value)

    def merge(self, value: Any, mark: Any) -> None:
        sources = value if isinstance(value, list) else [value]
        if not all(isinstance(source, Map) for source in sources):
            hint = "Write `<<: *anchor`, or put the key in quotes if it is no merge."
            raise self.error("yaml_syntax", "the merge key << needs a map or a list of maps", mark, hint)
        for source in sources:
            self.top.merge(source)

    def include(self, path: Any, mark: Any) -> Map:
        """The map of an included file."""
        if not isinstance(path, str):
            hint = "Write `!include : 'file.dig'`."
            raise self.error("bad_tag_value", "!include needs the path of a file", mark, hint)
        if self.load.include is None:
            raise self.error("include_not_found", f"'{path}' is included where files can't be", mark)
        self.check_depth(1, mark)
        try:
            file, text = self.load.include(self.file, path)
        except WorkflowError as error:
            if error.line is None:
                error.file, error.line, error.column = self.place(mark)
            raise
        if file in self.chain:
            chain = " → ".join((*self.chain, file))
            hint = "Take one of these includes out."
            raise self.error("nesting_too_deep", f"a file includes itself: {chain}", mark, hint)
        included = _File(text, file, self.load, self.chain, self.depth + len(self.stack))
        made = included.read_map()
        self.nodes += included.nodes
        self.grow(included.top.height - 1)
        return made

    def grow(self, height: int) -> None:
        self.top.height = max(self.top.height, height + 1)

    def check_depth(self, height: int, mark: Any) -> None:
        if self.depth + len(self.stack) + height > MAX_DEPTH:
            hint = "Move the inner part to a file of its own and use call>."
            raise self.error("nesting_too_deep", f"more than {MAX_DEPTH} levels of maps and lists", mark, hint)

    def core_name(self, event: Any) -> str:
        """The name of a core tag, without its prefix. Raises WorkflowError for any other tag (L8)."""
        tag: str = event.tag
        name = tag.removeprefix(scalars.CORE)
        if name != tag and name in scalars.TAG_NAMES:
            return name
        hint = "Put a text that starts with ! in quotes."
        if tag == "!include:":
            hint = "Put a space before the colon: `!include : 'file.dig'`."
        raise self.error("unknown_tag", f"unknown tag {_shown_tag(tag)}", event.start_mark, hint)

    def refuse_slash_escape(self, event: Any) -> None:
        source = self.text[event.start_mark.index : event.end_mark.index]
        if "\\/" in source.replace("\\\\", ""):
            hint = "Write / without the backslash."
            raise self.error("yaml_syntax", "the escape \\/ is unknown in YAML 1.1", event.start_mark, hint)

    def place(self, mark: Any) -> Place:
        return self.file, mark.line + 1, mark.column + 1

    def error(self, kind: str, message: str, mark: Any = None, hint: str | None = None) -> WorkflowError:
        file, line, column = self.place(mark) if mark else (self.file, 1, 1)
        return WorkflowError(message, kind=kind, file=file, line=line, column=column, hint=hint)


def _shown_tag(tag: str | None) -> str:
    text = tag or ""
    return text.replace(scalars.CORE, "!!") if text.startswith(scalars.CORE) else text


def _short(text: str) -> str:
    return text if len(text) <= 40 else f"{text[:37]}..."
