from __future__ import annotations

from hypothesis import settings

from tests.effort import examples

settings.register_profile("dagrun", max_examples=examples(100), deadline=None)  # other processes may have the machine
settings.load_profile("dagrun")
