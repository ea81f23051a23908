"""How long the attempts of a workflow usually take: what alarms and `dagrun timeline` compare with."""

from __future__ import annotations

from dagrun.core.state import SUCCESS
from dagrun.core.timeline import USUAL_MOST, usual
from dagrun.store.base import AttemptSummary, Tx


def usual_length(tx: Tx, one: AttemptSummary) -> int | None:
    """Of the last successes before this attempt, in microseconds; None while they are too few."""
    session = one.session
    found = tx.list_attempts(
        project_id=session.project_id, workflow=session.workflow, states=(SUCCESS,), before_id=one.attempt.id,
        limit=USUAL_MOST,
    )  # fmt: skip
    return usual([length for done in found if (length := done.length) is not None])
