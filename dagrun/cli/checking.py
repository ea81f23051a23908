"""Warnings before a run."""

from __future__ import annotations

from typing import Any

from dagrun.core.workflow import Workflow


def warn_before_run(files: Any, workflow: Workflow) -> None:
    """What `dagrun check` would say, as warnings."""
