"""From the settings to notices: who is told of what, how notices are sent, and the dead-man URL.

    [notify]                          [notices]                      [deadman]
    to = "slack:#ops"                 slack.url = "https://…"        url = "https://…"
    on = ["failed", "late"]           mail.host = "…"                every = "60s"

Any of `notices.*` may be a secret of that name instead.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping
from typing import TYPE_CHECKING, Any

from dagrun.cli.opened import Opened
from dagrun.cli.settings import Settings
from dagrun.core.kinds import to_seconds
from dagrun.errors import UserError, WorkflowError
from dagrun.secrets.scopes import LocalSecrets

if TYPE_CHECKING:
    from dagrun.core.workflow import NotifyRule
    from dagrun.engine.deadman import Deadman
    from dagrun.engine.notices import Notices, Post
    from dagrun.engine.noticing import Noticing

KEY = "notify"
SECRETS = ("slack.url", *(f"mail.{name}" for name in ("host", "from", "port", "username", "password", "tls")))
AT_END_SECONDS = 10.0  # so long a run waits at its end for its notices


def noticing_of(settings: Settings) -> Noticing:
    from dagrun.engine.noticing import Noticing

    return Noticing(settings_rules(settings))


def settings_rules(settings: Settings) -> tuple[NotifyRule, ...]:
    """`[notify]`, or several `[[notify]]`. Raises UserError."""
    given = settings.values.get(KEY) or unflat(settings.values, KEY)
    if not given:
        return ()
    from dagrun.core.notify import Source, rules_of
    from dagrun.engine.noticing import check_target

    try:
        rules = rules_of(given, Source(f"{KEY} in the settings", (None, None, None)))
    except WorkflowError as problem:
        raise UserError(str(problem)) from None
    for rule in rules:
        for target in rule.to:
            check_target(target)
    return rules


def unflat(values: Mapping[str, Any], name: str) -> dict[str, Any]:
    return {key.removeprefix(f"{name}."): value for key, value in values.items() if key.startswith(f"{name}.")}


def post_of(opened: Opened) -> Post:
    from dagrun.engine.notices import TRY_SECONDS, Post

    values = opened.settings.values
    secrets = LocalSecrets(values, os.environ)

    def settings() -> Mapping[str, Any]:
        hidden = {f"notices.{key}": secrets.get(f"notices.{key}") for key in SECRETS}
        return {**values, **{key: value.strip() for key, value in hidden.items() if value is not None}}

    return Post(settings, secrets.get, seconds_of(values, "notices.timeout", TRY_SECONDS))


def notices_of(
    opened: Opened,
    noticing: Noticing,
    projects: Callable[[], Collection[int]],
    say: Callable[[str], None],
    *,
    durable: bool = False,
) -> Notices:
    from dagrun.engine.notices import Notices

    return Notices(opened.durable_store if durable else opened.store, noticing, post_of(opened), projects, say)


def deadman_of(settings: Settings, say: Callable[[str], None]) -> Deadman | None:
    url = settings.values.get("deadman.url")
    if not url:
        return None
    from dagrun.engine.deadman import EVERY_SECONDS, Deadman
    from dagrun.notices.target import split_url

    if split_url(str(url)) is None:
        raise UserError("deadman.url in the settings is neither an http nor an https address")
    return Deadman(str(url), max(1.0, seconds_of(settings.values, "deadman.every", EVERY_SECONDS)), say)


def seconds_of(values: Mapping[str, Any], key: str, usual: float) -> float:
    try:
        seconds = to_seconds(values.get(key, usual))
    except ValueError:
        raise UserError(f"{key} in the settings is no length of time; write, for example, 30s or 10m") from None
    if seconds <= 0:
        raise UserError(f"{key} in the settings must be longer than nothing")
    return seconds


class AtEnd:
    """Notices of `run` and `retry`: sent while it runs, and waited for at its end, not for long."""

    def __init__(self, opened: Opened, noticing: Noticing, project_id: int, say: Callable[[str], None]) -> None:
        self.opened = opened
        self.noticing = noticing
        self.project_id = project_id
        self.say = say
        self.notices: Notices | None = None

    def beat(self) -> float:
        """A further part of the loop. Costs nothing while nobody wants to know anything."""
        if not self.noticing.watching:
            return 60.0
        if self.notices is None:
            self.notices = notices_of(self.opened, self.noticing, lambda: [self.project_id], self.say)
        import time

        return self.notices.poll(time.monotonic())

    def finish(self) -> None:
        """What could not be delivered in time is told; a later run, or the daemon, tries again."""
        self.beat()
        if self.notices is None:
            return
        from contextlib import suppress

        from dagrun.notices.target import without_secrets

        seconds = seconds_of(self.opened.settings.values, "notices.at_end", AT_END_SECONDS)
        with suppress(KeyboardInterrupt):  # who is in a hurry need not wait for it
            self.notices.finish(min(seconds, AT_END_SECONDS))
        for row in self.notices.left():
            why = f": {row.error}" if row.error else ""
            self.say(
                f"warning: notice {row.id} ({row.kind}) to {without_secrets(row.target)} is not delivered yet{why}\n"
                "  the next run with notices, or dagrun schedule, tries again; dagrun notify list shows it"
            )
