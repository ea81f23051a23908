"""Secrets in texts, for operators that fill `${secret:…}` in by themselves."""

from __future__ import annotations

from dagrun.core.template import resolve_secrets

__all__ = ["resolve_secrets"]
