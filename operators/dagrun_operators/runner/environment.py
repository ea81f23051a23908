# Run a program with the Python of an environment that has these packages: `environment.py UV PYTHON CACHE REQUIREMENTS PROGRAM…`.
#
# The environment is made once for the same requirements and the same Python, by uv, and found again afterwards. Tasks that want it
# at the same time wait for the first one. It is there whole, or not at all.

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
from contextlib import suppress

INCLUDED = re.compile(rb"^\s*(?:-[rc]|--requirements?|--constraints?)[\s=]*(\S+)", re.MULTILINE)


def main(uv: str, python: str, cache: str, requirements: str, *program: str) -> None:
    contents: dict[str, bytes] = {}
    try:
        read(requirements, contents)
    except OSError as problem:
        sys.exit(f"python: uv:{requirements} can't be read: {problem.strerror}")
    name = hashlib.sha256(
        b"\0".join([*contents.values(), version_of(python), os.fsencode(os.path.realpath(python))])
    ).hexdigest()[:32]
    place = os.path.join(cache, name)
    chosen = os.path.join(place, "bin", "python")
    if not os.path.exists(chosen):
        os.makedirs(cache, exist_ok=True)
        with open(f"{place}.lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not os.path.exists(chosen):
                make(uv, python, place, requirements)
    sys.stdout.flush()
    os.execv(chosen, [chosen, *program])


def read(path: str, contents: dict[str, bytes]) -> None:
    """The file, and those that it includes, in their order. Of one that can't be read uv tells."""
    with open(path, "rb") as file:
        contents[path] = file.read()
    for match in INCLUDED.finditer(contents[path]):
        included = os.path.normpath(os.path.join(os.path.dirname(path), os.fsdecode(match[1])))
        if included not in contents:
            with suppress(OSError):
                read(included, contents)


def make(uv: str, python: str, place: str, requirements: str) -> None:
    new = f"{place}.new"
    shutil.rmtree(new, ignore_errors=True)
    sys.stderr.write(f"making an environment for {requirements}\n")
    sys.stderr.flush()
    for arguments in (
        ["venv", "--quiet", "--relocatable", "--python", python, new],
        ["pip", "install", "--quiet", "--python", os.path.join(new, "bin", "python"), "--requirement", requirements],
    ):
        code = subprocess.run([uv, *arguments], stdin=subprocess.DEVNULL).returncode
        if code:
            shutil.rmtree(new, ignore_errors=True)
            sys.exit(
                f"the environment for {requirements} can't be made: uv {arguments[0]} ended with code {code}; see above"
            )
    os.rename(new, place)


def version_of(python: str) -> bytes:
    return subprocess.run([python, "-c", "import sys; print(sys.version)"], stdout=subprocess.PIPE, check=True).stdout


if __name__ == "__main__":
    main(*sys.argv[1:])
