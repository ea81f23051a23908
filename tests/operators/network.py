"""What the tests of http>, http_call> and mail> share."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import trustme

from dagrun.plugins.operator import Command, Operator, Result
from dagrun.plugins.testing import FakeTask, context
from tests.operators.conftest import Run

PROXIES = ("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "no_proxy", "NO_PROXY")


def call(run: Run, operator: Operator, params: Mapping[str, Any], **more: Any) -> tuple[Result, FakeTask]:
    """Run the task once, with a real process; what came of it, and the task."""
    task = context(params, **more)
    command = operator.run(task)
    assert isinstance(command, Command)
    return operator.ended(task, run.execute(command)), task


def without_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of the machine that runs the tests."""
    for name in PROXIES:
        monkeypatch.delenv(name, raising=False)


def certified(monkeypatch: pytest.MonkeyPatch, directory: Path, host: str = "127.0.0.1") -> ssl.SSLContext:
    """What a server needs for TLS, with a certificate that runners trust."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(directory / "authority.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(directory / "authority.pem"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(host).configure_cert(context)
    return context
