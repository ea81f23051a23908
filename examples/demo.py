"""`make demo`: the workflow of `demo/` on its data, from a failure to the report, in a copy that is removed afterwards."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

DEMO = Path(__file__).parent / "demo"
# Made when somebody tried the demo by hand; not part of it.
LEFT_OUT = shutil.ignore_patterns(".dagrun", "__pycache__")


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="dagrun-demo-") as directory:
        project = Path(directory, "demo")
        shutil.copytree(DEMO, project, ignore=LEFT_OUT)
        show(project)


def show(project: Path) -> None:
    say("One day of four shops: examples/demo/sales.dig reads their orders. One file has a damaged line.")
    dagrun(project, "run", "sales.dig", "--session", "2026-01-15", ends_with=1)

    say("That attempt failed, as it should, and its _error handler told. This is how its tasks stand:")
    dagrun(project, "tasks", "last")

    say("Now the file is mended. What would a retry do?")
    print("$ cp mended/osaka.csv orders/osaka.csv")
    shutil.copyfile(project / "mended" / "osaka.csv", project / "orders" / "osaka.csv")
    dagrun(project, "retry", "last", "--plan")

    say("The retry reads the mended file alone; the figures of the other shops are reused.")
    dagrun(project, "retry", "last")

    say(
        "Shown: parallel tasks, a for_each and a loop, a task that was tried again, an _error handler, a _check, Python and\n"
        "shell, and an attempt that went on from the task that had failed. See examples/ for one idea at a time."
    )


def say(text: str) -> None:
    print(f"\n=== {text}\n", flush=True)


def dagrun(project: Path, *arguments: str, ends_with: int = 0) -> None:
    """Run one command, visibly. The demo ends if it doesn't end as it should."""
    print("$ dagrun " + " ".join(arguments), flush=True)
    code = subprocess.run([sys.executable, "-m", "dagrun.cli", *arguments], cwd=project).returncode
    if code != ends_with:
        sys.exit(f"the demo is broken: dagrun {arguments[0]} ended with exit code {code} instead of {ends_with}")


if __name__ == "__main__":
    main()
