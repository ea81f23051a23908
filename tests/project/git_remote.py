"""Remote repositories for the tests, made with the git program: one in a directory, and one behind http and a password."""

from __future__ import annotations

import base64
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Thread

IDENTITY = {
    "GIT_AUTHOR_NAME": "Ann",
    "GIT_AUTHOR_EMAIL": "ann@example.org",
    "GIT_COMMITTER_NAME": "Bob",
    "GIT_COMMITTER_EMAIL": "bob@example.org",
    "GIT_COMMITTER_DATE": "1700000000 +0100",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_TRACE": "0",
    "GIT_CONFIG_GLOBAL": os.devnull,
}


class Remote:
    """A working copy that is its own remote."""

    def __init__(self, path: Path, branch: str = "main") -> None:
        self.path = path
        path.mkdir()
        self.git("init", "--quiet", f"--initial-branch={branch}")

    @property
    def url(self) -> str:
        return str(self.path)

    def git(self, *arguments: str) -> str:
        return self.git_with("", *arguments)

    def git_with(self, text: str, *arguments: str) -> str:
        """What git prints that was given a text."""
        command = ["git", *arguments]
        environment = os.environ | IDENTITY
        ended = subprocess.run(command, cwd=self.path, env=environment, input=text, capture_output=True, text=True)
        assert ended.returncode == 0, ended.stderr
        return ended.stdout.strip()

    def commit(self, subject: str = "a change", **files: str) -> str:
        """Commits what is there and the files, `__` in their names for `/`; returns the hash."""
        for name, text in files.items():
            path = self.path / name.replace("__", "/")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "--message", subject)
        return self.git("rev-parse", "HEAD")


def files_below(directory: str) -> dict[str, str]:
    """Each file with its text, each link with its target behind an arrow."""
    top = Path(directory)
    found = {}
    for path in sorted(top.rglob("*")):
        if path.is_symlink():
            found[path.relative_to(top).as_posix()] = f"-> {os.readlink(path)}"
        elif path.is_file():
            found[path.relative_to(top).as_posix()] = path.read_text()
    return found


class Server(ThreadingHTTPServer):
    """Serves the repositories below a directory; what it sends of packs stops half-way as long as `stalls`."""

    daemon_threads = True

    def __init__(self, root: Path, user: str, password: str) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.root = root
        self.expected = "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
        self.stalls = False
        self.stalled = Event()
        self.released = Event()

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        if self.headers.get("Authorization") != self.server.expected:
            self.send_response(401)
            self.send_header("WWW-Authenticate", 'Basic realm="test"')
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        head, _, body = self.answer().partition(b"\r\n\r\n")
        fields = dict(line.split(": ", 1) for line in head.decode().split("\r\n"))
        self.send_response(int(fields.pop("Status", "200 OK").split()[0]))
        for name, value in fields.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.server.stalls and b"PACK" in body:
            self.wfile.write(body[: len(body) // 2])
            self.server.stalled.set()
            self.server.released.wait(60)
        else:
            self.wfile.write(body)

    def do_POST(self) -> None:
        self.do_GET()

    def answer(self) -> bytes:
        path, _, query = self.path.partition("?")
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        variables = {
            "GIT_PROJECT_ROOT": str(self.server.root),
            "GIT_HTTP_EXPORT_ALL": "1",
            "PATH_INFO": path,
            "QUERY_STRING": query,
            "REQUEST_METHOD": self.command,
            "CONTENT_TYPE": self.headers.get("Content-Type", ""),
            "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
            "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
        }
        program = ["git", "http-backend"]
        return subprocess.run(program, input=body, env=os.environ | IDENTITY | variables, capture_output=True).stdout

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def served(root: Path, user: str, password: str) -> Iterator[Server]:
    server = Server(root, user, password)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.released.set()
        server.shutdown()
        server.server_close()
        thread.join()
