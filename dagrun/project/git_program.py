"""The git program: how it is called, what it is told about credentials, and what its complaints mean.

Git never asks anything, runs no hooks, and doesn't see the repository that the caller may stand in. Credentials go to it in
variables of its environment, which neither a list of processes nor a file of the mirror tells; whatever it prints is cleaned
of them before anybody sees it. Called by `dagrun.project.git` alone, which knows what is to be done.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from urllib.parse import quote, unquote

from dagrun.errors import UserError
from dagrun.light import NamedTuple

# -- calling it

OPTIONS = {
    "core.hooksPath": "/dev/null",
    "core.quotePath": "false",  # names as they are, but for quotes and control characters
    "core.autocrlf": "false",  # the same files on each machine; a repository's own attributes still count
    "submodule.recurse": "false",
    "filter.lfs.smudge": "",  # pointers of Git LFS stay files
    "filter.lfs.process": "",
    "filter.lfs.required": "false",
    "gc.autoDetach": "false",
    "log.showSignature": "false",
    "i18n.logOutputEncoding": "UTF-8",
}
# Of `git rev-parse --local-env-vars` those that lead to a repository: a hook that calls dagrun has them set.
LEFT_OUT = frozenset(
    """
    GIT_ALTERNATE_OBJECT_DIRECTORIES GIT_COMMON_DIR GIT_CONFIG GIT_DIR GIT_GRAFT_FILE GIT_IMPLICIT_WORK_TREE GIT_INDEX_FILE
    GIT_NAMESPACE GIT_OBJECT_DIRECTORY GIT_PREFIX GIT_QUARANTINE_PATH GIT_REPLACE_REF_BASE GIT_SHALLOW_FILE GIT_WORK_TREE
    GIT_CURL_VERBOSE GIT_EXTERNAL_DIFF GIT_DIFF_OPTS
    """.split()
)
UNSEEN = re.compile(r"[\x00-\x1f\x7f]")


class Ended(NamedTuple):
    code: int
    output: bytes
    words: str  # what it complained about, in one line


def run(arguments: Sequence[str], environment: Mapping[str, str], directory: str, seconds: float) -> Ended:
    """Raises TimeoutError when it is killed for the time it takes, UserError when there is no git."""
    options = [word for key, value in OPTIONS.items() for word in ("-c", f"{key}={value}")]
    try:
        process = subprocess.Popen(
            ["git", "--literal-pathspecs", *options, *arguments],
            cwd=directory,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,  # no terminal to ask at, and one group to kill
        )
    except (FileNotFoundError, PermissionError) as problem:
        hint = "install it (apt install git, brew install git), or mend PATH"
        raise UserError(f"the program git can't be started: {problem.strerror}\n  {hint}") from problem
    with process:
        try:
            output, errors = process.communicate(timeout=seconds)
        except BaseException as problem:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            if isinstance(problem, subprocess.TimeoutExpired):
                raise TimeoutError from None
            raise
    return Ended(process.returncode, output, words_of(errors))


def environment_of(directory: str) -> dict[str, str]:
    """The variables of a git that works in the directory, whatever repository lies around it."""
    kept = {name: value for name, value in os.environ.items() if name not in LEFT_OUT}
    return {name: value for name, value in kept.items() if not name.startswith("GIT_TRACE")} | {
        "GIT_ALLOW_PROTOCOL": "file:git:http:https:ssh",  # `url.….insteadOf` could lead to ext:: again
        "GIT_CEILING_DIRECTORIES": os.path.dirname(os.path.realpath(directory)),
        "GIT_LFS_SKIP_SMUDGE": "1",
        "GIT_TERMINAL_PROMPT": "0",
        "LANGUAGE": "",
        "LC_ALL": "C",  # `refusal` reads what it prints
    }


def ask_nothing(environment: dict[str, str]) -> None:
    """ssh fails instead of asking, unless the user chose an ssh."""
    if not environment.get("GIT_SSH_COMMAND") and not environment.get("GIT_SSH"):
        environment["GIT_SSH_COMMAND"] = "ssh -o BatchMode=yes"


def text_of(output: bytes) -> str:
    return output.decode("utf-8", "replace")


def words_of(errors: bytes) -> str:
    lines = [UNSEEN.sub("", line).strip() for line in re.split(r"[\r\n]+", text_of(errors))]
    return "; ".join([line for line in lines if line and not line.startswith("hint:")][-8:])[:2000]


# -- what it complains about


class Refusal(NamedTuple):
    """What is to be told when git's words match."""

    pattern: str
    what: str
    hint: str


NEEDED = (
    r"could not read (username|password)",
    r"authentication failed",
    r"permission denied",
    r"terminal prompts disabled",
    r"returned error: 40[13]",
)
MISSING = (
    r"not found",
    r"does not appear to be a git repository",
    r"does not exist",
    r"no such file",
    r"not a git repository",
)
# The first that matches counts.
REFUSALS = (
    Refusal(
        r"host key verification failed",
        "the key of its host isn't known",
        "connect once by ssh, as the user that runs dagrun, and accept the key",
    ),
    Refusal(
        "|".join(NEEDED),
        "it asks for authentication, and got none that it takes",
        "pass a token that may read it, or give git a credential helper or an ssh key; is the URL right? "
        "Servers ask for what isn't there as well",
    ),
    Refusal(r"dubious ownership", "it belongs to another user", "git config --global --add safe.directory <its path>"),
    Refusal(r"no space left|disk quota", "the disk of the mirror is full", "make room on it"),
    Refusal(r"invalid path|file name too long", "a file of it can't be written here", "rename it in the repository"),
    Refusal(r"couldn't find remote ref", "the branch has just vanished", "try again"),
    Refusal("|".join(MISSING), "there is no git repository", "look at the URL, and at who may read it"),
    Refusal(r"", "it can't be reached", "look at the URL, and at the network"),
)


def is_no_damage(words: str) -> bool:
    """Whether a mirror that is whole can lead to that, too."""
    return bool(re.search(r"no space left|disk quota|invalid path|file name too long", words, re.IGNORECASE))


def refusal(shown: str, words: str) -> UserError:
    """The error for what a remote, or the way to it, answered."""
    row = next(row for row in REFUSALS if re.search(row.pattern, words, re.IGNORECASE))
    return UserError(f"{shown}: {row.what}\n  {row.hint}\n  git says: {words}")


# -- addresses and credentials

SCHEMES = ("file", "git", "git+ssh", "http", "https", "ssh", "ssh+git")
AUTHORITY = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*://)([^\s/?#]*)@")
# A credential helper for git's shell; what is asked for is its argument: get, store or erase.
HELPER = (
    r"""!f() { test "$1" != get || printf 'username=%s\npassword=%s\n' "$DAGRUN_GIT_USER" "$DAGRUN_GIT_TOKEN"; }; f"""
)


class Address(NamedTuple):
    """A URL, apart from the credentials in it."""

    url: str  # what git is called with: for http(s) without user and password
    shown: str
    user: str = ""
    password: str | None = None

    def __repr__(self) -> str:
        return f"Address({self.shown!r})"  # a stack trace shows it

    def variables(self, environment: Mapping[str, str]) -> dict[str, str]:
        """The variables that tell git the credentials, for this host alone: a redirection elsewhere gets none."""
        host = re.match(r"[^/]*//[^/?#]*", self.url)
        section = f"credential.{host[0] if host else self.url}"
        if self.password is not None:
            # GitHub and GitLab take any user name beside a token, as long as there is one.
            told = {"DAGRUN_GIT_USER": self.user or "x-access-token", "DAGRUN_GIT_TOKEN": self.password}
            return told | settings(
                environment, (f"{section}.helper", ""), (f"{section}.helper", HELPER)
            )  # "": no others
        return settings(environment, (f"{section}.username", self.user)) if self.user else {}

    def hide(self, text: str) -> str:
        secret = self.password or ""
        for form in {secret, quote(secret, safe="")} - {""}:
            text = text.replace(form, "***")
        return hide_authority(text)


def settings(environment: Mapping[str, str], *pairs: tuple[str, str]) -> dict[str, str]:
    """Variables that are like `-c key=value`, but aren't seen in a list of processes; behind those that are set already."""
    count = environment.get("GIT_CONFIG_COUNT", "")
    start = int(count) if count.isdecimal() else 0
    found = {"GIT_CONFIG_COUNT": str(start + len(pairs))}
    for index, (key, value) in enumerate(pairs, start):
        found |= {f"GIT_CONFIG_KEY_{index}": key, f"GIT_CONFIG_VALUE_{index}": value}
    return found


def address_of(url: str, token: str | None) -> Address:
    """Raises UserError for a URL that git must not be given, or that a token doesn't fit."""
    shown = hide_authority(url)
    scheme, separator, rest = url.partition("://")
    helper = re.match(r"[A-Za-z0-9+.-]*::", url)  # `ext::sh -c …` and the like: git would run a program of that name
    if not url or url.startswith("-") or UNSEEN.search(url) or helper:
        raise UserError(f"{shown!r} is refused as the URL of a git repository\n  write https://…, ssh://…, or a path")
    if separator and scheme not in SCHEMES:
        raise UserError(f"{shown}: git repositories of {scheme}:// are not fetched\n  there are: {', '.join(SCHEMES)}")
    if scheme in ("http", "https"):
        return web_address(scheme, rest, shown, (token or "").strip())
    if token:
        raise UserError(f"{shown}: a token is for http and https only\n  leave it away, or write https://…")
    local = not separator and ":" not in url.partition("/")[0]
    return Address(os.path.abspath(url) if local else url, shown)


def web_address(scheme: str, rest: str, shown: str, token: str) -> Address:
    authority = re.split(r"[/?#]", rest, maxsplit=1)[0]
    userinfo, _, host = authority.rpartition("@")
    if not re.fullmatch(r"(\[[0-9A-Fa-f:.]+\]|[^\s:\[\]]+)(:\d*)?", host):  # not shown: it may be half of a password
        hint = "write special characters of a password as %2F and so on"
        raise UserError(f"the URL of a git repository has no valid host behind {scheme}://\n  {hint}")
    user, colon, password = userinfo.partition(":")
    secret = token or (unquote(password) if colon else None)
    if UNSEEN.search(f"{unquote(user)}{secret or ''}"):
        raise UserError(f"{shown}: its user or token has control characters\n  give each as one line")
    return Address(f"{scheme}://{host}{rest.removeprefix(authority)}", shown, unquote(user), secret)


def hide_authority(text: str) -> str:
    """Whoever is named before the host of a URL isn't shown, but for the plain `git@` of ssh."""

    def hidden(found: re.Match[str]) -> str:
        plain = "ssh" in found[1] and ":" not in found[2]
        return found[0] if plain else f"{found[1]}***@"

    return AUTHORITY.sub(hidden, text)
