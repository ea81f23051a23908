"""Cases that are wrong, or that dagrun answers otherwise on purpose; each stands in differences.md with its reason."""

from __future__ import annotations

import re
from pathlib import Path

DIFFERENT = frozenset(
    re.findall(r"^\| (\S+) \|", (Path(__file__).parent / "differences.md").read_text(), re.MULTILINE)
) - {
    "case",
    "---",
}
