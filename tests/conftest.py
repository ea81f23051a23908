from __future__ import annotations

import gc

import pytest
from hypothesis import settings

from tests.effort import examples

settings.register_profile("dagrun", max_examples=examples(100), deadline=None)  # other processes may have the machine
settings.load_profile("dagrun")
gc.disable()  # while thousands of tests are collected, nothing is garbage


@pytest.hookimpl(trylast=True)
def pytest_collection_finish() -> None:
    """They stay until the end, and needn't be looked through again and again."""
    gc.freeze()
    gc.enable()
