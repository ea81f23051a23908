"""How hard the property tests look: a little in `make test`, which must be quick, much harder in `make soak`.

@settings(max_examples=examples(150))       as many where DAGRUN_TEST_EFFORT is 1; half of that is the default
"""

from __future__ import annotations

import os

EFFORT = float(os.environ.get("DAGRUN_TEST_EFFORT") or 0.5)
FEWEST = 10


def examples(number: int) -> int:
    return max(FEWEST, round(number * EFFORT))
