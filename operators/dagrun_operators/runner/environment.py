# Run a program with the Python of an environment that has these packages: `environment.py UV CACHE REQUIREMENTS PROGRAM…`.
#
# The environment is made once, by uv, for the same Python, which is the one that runs this file, and the same requirements: the file,
# those that it includes, and the packages that lie beside it. It is found again afterwards; tasks that want it at the same time wait
# for the first one. It is there whole, or not at all.

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys

INCLUDED = re.compile(r"\s*(?:-[rc]|--requirements?|--constraints?)[\s=]*([^\s#]+)")
EDITABLE = re.compile(r"\s*(?:-e|--editable)\b")
LOCAL = re.compile(r"\s*((?:\.|/|[^\s#;@]+/)[^\s#;@]*|[^\s#;@]+\.(?:whl|zip|tar\.gz))")


def main(uv: str, cache: str, requirements: str, *program: str) -> None:
    place = os.path.join(cache, name_of(requirements))
    chosen = os.path.join(place, "bin", "python")
    if not os.path.exists(chosen):
        try:
            os.makedirs(cache, exist_ok=True)
            with open(f"{place}.lock", "w") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                if not os.path.exists(chosen):
                    make(uv, place, requirements)
        except OSError as problem:
            sys.exit(
                f"python: uv:{requirements}: the environment can't be kept in {cache}: {problem.strerror}; "
                "let XDG_CACHE_HOME name a directory that can be written to"
            )
    sys.stdout.flush()
    os.execv(chosen, [chosen, *program])


def name_of(requirements: str) -> str:
    """The digest of all that the environment is made from."""
    hashing = hashlib.sha256(f"{sys.version}\0{os.path.realpath(sys.executable)}".encode())
    try:
        take(requirements, hashing, set())
    except OSError as problem:
        sys.exit(f"python: uv:{requirements}: {problem.filename} can't be read: {problem.strerror}")
    return hashing.hexdigest()[:32]


def take(path: str, hashing: "hashlib._Hash", seen: "set[str]") -> None:
    """The file, with those that its lines name."""
    if os.path.realpath(path) in seen:
        return
    seen.add(os.path.realpath(path))
    with open(path, "rb") as file:
        content = file.read()
    hashing.update(content + b"\0")
    for line in content.decode(errors="replace").splitlines():
        if EDITABLE.match(line):
            sys.exit(
                f"python: uv:{path}: {line.strip()}: the environment outlives the directory of the task; "
                "write the path without -e"
            )
        included, local = INCLUDED.match(line), LOCAL.match(line)
        if included:
            take(os.path.join(os.path.dirname(path), included[1]), hashing, seen)
        elif local and "://" not in local[1]:
            for directory in (os.path.dirname(path), ""):
                take_package(os.path.join(directory, local[1]), hashing)


def take_package(path: str, hashing: "hashlib._Hash") -> None:
    """An archive, or a directory; nothing if there is none."""
    files = [path] if os.path.isfile(path) else []
    for folder, folders, names in os.walk(path):
        folders[:] = sorted(name for name in folders if not name.startswith(".") and name != "__pycache__")
        files += [os.path.join(folder, name) for name in sorted(names)]
    for name in files:
        with open(name, "rb") as file:
            hashing.update(os.path.relpath(name, path).encode() + b"\0" + hashlib.sha256(file.read()).digest())


def make(uv: str, place: str, requirements: str) -> None:
    new = f"{place}.new"
    shutil.rmtree(new, ignore_errors=True)
    sys.stderr.write(f"making an environment for {requirements}\n")
    sys.stderr.flush()
    for arguments in (
        ["venv", "--quiet", "--relocatable", "--python", sys.executable, new],
        ["pip", "install", "--quiet", "--python", os.path.join(new, "bin", "python"), "--requirement", requirements],
    ):
        code = subprocess.run([uv, *arguments], stdin=subprocess.DEVNULL).returncode
        if code:
            shutil.rmtree(new, ignore_errors=True)
            sys.exit(
                f"the environment for {requirements} can't be made: uv {arguments[0]} ended with code {code}; see above"
            )
    shutil.rmtree(place, ignore_errors=True)  # somebody has taken its interpreter away
    os.rename(new, place)


if __name__ == "__main__":
    main(*sys.argv[1:])
