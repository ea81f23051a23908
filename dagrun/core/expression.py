"""What can be known about the JavaScript of a `${…}` without running it.

This file owns the tokens of an expression: where it ends (strings, regular expressions, comments and template literals
may hold braces), which names it mentions, whether it is a plain path such as `a.b[0]`, and whether it certainly leaves
no trace in the engine that runs it. It knows no values and no engine; `core.template` calls it, once for each text.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from dagrun.core.files import reference
from dagrun.light import NamedTuple, pattern

Step = str | int


class Token(NamedTuple):
    kind: str  # name, number, string, regex, literal (a piece of a template literal) or mark (all other signs)
    text: str


class Expression(NamedTuple):
    """One expression of a text."""

    source: str
    path: tuple[Step, ...] | None  # of a plain look-up `a.b[0]['c']`: the root name and the steps; else None
    names: frozenset[str]  # every variable that it can read, unless `dynamic`
    dynamic: bool  # it may read variables that it doesn't name (`this[x]`, `eval`)
    traceless: bool  # it can't change anything that another text would meet in the same engine
    rest: str | None  # the literal text from here on that stands if the expression does not parse; None: an error
    file: tuple[str, str] | None = None  # task and path of `+task.file("path")`


class Scan(NamedTuple):
    end: int | None  # index of the brace that closes the expression; None: there is none
    tokens: list[Token]


_TOKEN = pattern(
    r"""(?P<space>\s+|//[^\n\r\u2028\u2029]*|/\*.*?\*/)
    |(?P<name>[^\W\d][\w$]*|\$[\w$]*)
    |(?P<number>0[xXoObB][0-9a-fA-F_]+n?|(?:\d[\d_]*\.?[\d_]*|\.\d[\d_]*)(?:[eE][+-]?\d+)?n?)
    |(?P<string>'(?:[^'\\\n\r]|\\(?:\r\n|.))*'|"(?:[^"\\\n\r]|\\(?:\r\n|.))*")
    |(?P<mark>>>>=|\.\.\.|[=!]==|\*\*=|<<=|>>=|>>>|&&=|\|\|=|\?\?=|=>|[=!<>+\-*/%&|^]=|\+\+|--|<<|>>|&&|\|\||\?\?|\*\*
        |\?\.(?!\d)|.)""",
    re.VERBOSE | re.DOTALL,
)
_REGEX = pattern(r"/(?![*/])(?:[^/\\\[\n\r]|\\[^\n\r]|\[(?:[^\]\\\n\r]|\\[^\n\r])*\])+/[\w$]*")
_LITERAL = pattern(r"(?:[^`\\$]|\\.|\$(?!\{))*(?:`|\$\{)", re.DOTALL)
_PATH = pattern(
    r"""\s*[A-Za-z_$][\w$]*(?:\.[A-Za-z_$][\w$]*|\[(?:0|[1-9]\d{0,8})\]|\['[^'\\\n\r]*'\]|\["[^"\\\n\r]*"\])*\s*""",
    re.VERBOSE | re.ASCII,
)
_STEP = pattern(r"""([A-Za-z_$][\w$]*)|\[(\d+)\]|\['([^']*)'\]|\["([^"]*)"\]""", re.ASCII)

KEYWORDS = frozenset(
    "arguments await break case catch class const continue debugger default delete do else enum export extends false"
    " finally for function if implements import in instanceof interface let new null package private protected public"
    " return static super switch this throw true try typeof undefined var void while with yield".split()
)
_OPERATOR_WORDS = frozenset("typeof return in instanceof new delete void case do else throw yield await of".split())


def scan(text: str, start: int) -> Scan | None:
    """The tokens from `start` to the brace that closes the expression; None if the text is no JavaScript at all."""
    tokens: list[Token] = []
    open_braces: list[str] = []
    position = start
    while position < len(text):
        character = text[position]
        if character == "/" and _regex_may_follow(tokens):
            match = _REGEX.match(text, position)
            if match:
                tokens.append(Token("regex", match[0]))
                position = match.end()
                continue
        if character == "`" or (character == "}" and open_braces and open_braces[-1] == "`"):
            match = _LITERAL.match(text, position + 1)
            if not match:
                return None
            if character == "}":
                open_braces.pop()
            if match[0].endswith("{"):
                open_braces.append("`")
            tokens.append(Token("literal", match[0]))
            position = match.end()
            continue
        if character == "}" and not open_braces:
            return Scan(position, tokens)
        match = _TOKEN.match(text, position)
        assert match is not None and match.lastgroup is not None  # the last alternative takes any character
        if match.lastgroup != "space":
            if match[0] in ("'", '"') or match[0].startswith("/*"):
                return None
            tokens.append(Token(match.lastgroup, match[0]))
        if character == "{":
            open_braces.append("{")
        elif character == "}":
            open_braces.pop()
        position = match.end()
    return Scan(None, tokens)


def balanced(text: str, start: int) -> int | None:
    """Where Digdag's scanner ends the expression, which counts braces wherever they stand (spec/language T8)."""
    depth = 0
    for match in re.compile("[{}]").finditer(text, start):
        depth += 1 if match[0] == "{" else -1
        if depth < 0:
            return match.start()
    return None


def expression(source: str, tokens: Sequence[Token], rest: str | None = None) -> Expression:
    """What the tokens tell about the expression."""
    dynamic = _is_dynamic(tokens)
    names = set(_names(tokens))
    path = _path(source)
    traceless = path is not None or _leaves_no_trace(tokens)
    file = reference(source) if ".file(" in source else None
    return Expression(source, path, frozenset(names), dynamic, traceless, rest, file)


def _regex_may_follow(tokens: Sequence[Token]) -> bool:
    if not tokens:
        return True
    kind, text = tokens[-1]
    if kind == "mark":
        return text not in (")", "]", "}", "++", "--")
    return (kind == "name" and text in _OPERATOR_WORDS) or (kind == "literal" and text.endswith("{"))


def _path(source: str) -> tuple[Step, ...] | None:
    if not _PATH.fullmatch(source):
        return None
    steps: list[Step] = []
    for name, index, single, double in _STEP.findall(source):
        steps.append(int(index) if index else name or single or double)
    return tuple(steps) if steps[0] not in KEYWORDS else None


def _names(tokens: Sequence[Token]) -> list[str]:
    """Names that don't stand behind a dot, and what is read from `this`."""
    found = []
    for index, (kind, text) in enumerate(tokens):
        before = tokens[index - 1].text if index else ""
        if kind == "name" and text not in KEYWORDS:
            if before not in (".", "?.") or _is_this(tokens, index - 2):
                found.append(text)
        elif kind == "name" and before in (".", "?.") and _is_this(tokens, index - 2):
            found.append(text)
        elif kind == "string" and before == "[" and _is_this(tokens, index - 2):
            found.append(text[1:-1])
    return found


def _is_this(tokens: Sequence[Token], index: int) -> bool:
    return index >= 0 and tokens[index] == ("name", "this")


_DYNAMIC = frozenset({"eval", "Function", "constructor", "with", "arguments"})


def _is_dynamic(tokens: Sequence[Token]) -> bool:
    for index, (kind, text) in enumerate(tokens):
        if text in _DYNAMIC or (kind == "mark" and text == "\\"):
            return True
        if kind == "name" and text == "this" and not _reads_one_key(tokens, index):
            return True
        if kind in ("string", "literal") and (text[1:-1] in _DYNAMIC or "\\" in text) and "[" in _marks(tokens):
            return True
    return False


def _reads_one_key(tokens: Sequence[Token], this: int) -> bool:
    after = [token.text for token in tokens[this + 1 : this + 4]]
    if after[:1] in (["."], ["?."]):
        return len(after) > 1
    return len(after) == 3 and after[0] == "[" and after[2] == "]" and tokens[this + 2].kind == "string"


def _marks(tokens: Sequence[Token]) -> set[str]:
    return {text for kind, text in tokens if kind == "mark"}


# What leaves no trace. An engine that has moment loaded is worth keeping (5 ms), but nothing may carry over from one
# text to the next. Variables are made anew for each text, so only the globals and what hangs on them can be changed.
# A text keeps its engine if, by its tokens, it cannot do that: it assigns nothing, it names no global but the ones
# below and calls only these methods. Whatever is not on a list counts as a trace, so that the lists may be short.

_SHARED = {
    "Array": {"isArray"},
    "Date": {"UTC", "now", "parse"},
    "JSON": {"parse", "stringify"},
    "Math": {"PI", "abs", "ceil", "floor", "max", "min", "pow", "round", "sqrt", "trunc"},
    "Number": {"isInteger", "parseFloat", "parseInt"},
    "Object": {"entries", "keys", "values"},
    "String": {"fromCharCode"},
    "moment": {"duration", "isDuration", "isMoment", "max", "min", "now", "unix", "utc"},
}
_FUNCTIONS = frozenset(
    "Boolean Number String decodeURI decodeURIComponent encodeURI encodeURIComponent escape isFinite isNaN parseFloat"
    " parseInt unescape".split()
)
_VALUES = frozenset({"Infinity", "NaN"})
GLOBALS = frozenset(
    "AggregateError Array ArrayBuffer BigInt BigInt64Array BigUint64Array Boolean DataView Date Error EvalError"
    " Float32Array Float64Array Function Infinity Int16Array Int32Array Int8Array InternalError JSON Java Map Math NaN"
    " Number Object Packages Promise Proxy RangeError ReferenceError Reflect RegExp Set String Symbol SyntaxError"
    " TypeError URIError Uint16Array Uint32Array Uint8Array Uint8ClampedArray WeakMap WeakSet decodeURI"
    " decodeURIComponent encodeURI encodeURIComponent escape eval isFinite isNaN load moment parseFloat parseInt print"
    " undefined unescape".split()
)
_READING = frozenset(
    "charAt charCodeAt compareTo concat contains diff endsWith equals equalsIgnoreCase every exec filter find findIndex"
    " flat forEach format fromNow getDate getDay getFullYear getHours getMinutes getMonth getSeconds getTime"
    " getTimezoneOffset hasOwnProperty humanize includes indexOf isAfter isBefore isBetween isBlank isEmpty isLeapYear"
    " isSame isSameOrAfter isSameOrBefore isValid isoWeek isoWeekday join lastIndexOf map match matches padEnd padStart"
    " reduce replace replaceAll replaceFirst search slice some split startsWith strip substr substring test"
    " toExponential toFixed toISOString toJSON toLowerCase toPrecision toString toUTCString toUpperCase trim unix"
    " valueOf".split()
)
_WRITING = frozenset(  # they change their own object only
    "add clone date dates day days daysInMonth endOf hour hours local millisecond milliseconds minute minutes month"
    " months pop push quarter reverse second seconds set shift sort splice startOf subtract unshift utc utcOffset week"
    " weekday weeks year years".split()
)
_FORBIDDEN_WORDS = frozenset(
    "__defineGetter__ __defineSetter__ __proto__ apply arguments async await bind call callee caller class const"
    " constructor debugger delete eval fn for get globalThis import let prototype set super var while with"
    " yield".split()
) - {"set"}
_FORBIDDEN_MARKS = frozenset("++ -- \\ # @ ...".split())
_COMPARISONS = frozenset("== === != !== <= >= =>".split())
_CALLING_WORDS = frozenset("function return typeof void in instanceof if".split())


def _leaves_no_trace(tokens: Sequence[Token]) -> bool:
    words = {text for kind, text in tokens if kind == "name"}
    if words & _FORBIDDEN_WORDS or ("this" in words and "{" in _marks(tokens)):
        return False
    if _may_reach_anything(tokens) and words & _WRITING:
        return False
    return all(_is_harmless(tokens, index) for index in range(len(tokens)))


def _may_reach_anything(tokens: Sequence[Token]) -> bool:
    """Whether a property is read whose name can't be seen: `a[b]` might be `a['__proto__']`."""
    for index, (kind, text) in enumerate(tokens[1:], 1):
        if (kind, text) == ("mark", "[") and _ends_value(tokens[index - 1]):
            key = tokens[index + 1 : index + 3]
            plain = len(key) == 2 and key[0].kind in ("string", "number") and key[1].text == "]"
            if not plain or "\\" in key[0].text:
                return True
    return False


def _ends_value(token: Token) -> bool:
    if token.kind == "name":
        return token.text not in _OPERATOR_WORDS
    return token.kind != "mark" or token.text in (")", "]", "}", "?.")


def _is_harmless(tokens: Sequence[Token], index: int) -> bool:
    kind, text = tokens[index]
    before = tokens[index - 1] if index else Token("mark", "(")
    after = tokens[index + 1].text if index + 1 < len(tokens) else ""
    if kind == "literal":
        return False
    if kind == "string":
        return text[1:-1] not in _FORBIDDEN_WORDS
    if kind == "mark":
        if text == "(" and index:
            return _may_be_called(tokens, index - 1)
        return text not in _FORBIDDEN_MARKS and (not text.endswith("=") or text in _COMPARISONS)
    if kind != "name":
        return True
    if before.text in (".", "?."):
        owner = tokens[index - 2] if index > 1 else Token("mark", "")
        root = owner.kind == "name" and (index < 3 or tokens[index - 3].text not in (".", "?."))
        return not root or owner.text not in _SHARED or text in _SHARED[owner.text]
    if text == "new":
        return after == "Date"
    if (text in _FUNCTIONS and text not in _SHARED) or text in _VALUES or text == "undefined":
        return True
    if text in _SHARED:
        calls = text in _FUNCTIONS or text == "moment" or before.text == "new"
        return after in (".", "?.") or (calls and after == "(") or (text in _FUNCTIONS and after in (")", ","))
    return text not in GLOBALS


def _may_be_called(tokens: Sequence[Token], index: int) -> bool:
    kind, text = tokens[index]
    before = tokens[index - 1].text if index else ""
    if kind == "mark":
        return text not in (")", "]", "}", "?.")
    if kind != "name":
        return False
    if before in (".", "?."):
        owner = tokens[index - 2].text if index > 1 else ""
        return text in _READING or text in _WRITING or text in _SHARED.get(owner, ())
    return text in _FUNCTIONS or text in _CALLING_WORDS or text == "moment" or before in ("new", "function")
