"""Output that has to be masked before it reaches the disk: one small thread between a process and its log.

Used only for tries that have secrets; all others write into the log themselves. It ends with the process and
not with the pipe: a background process that keeps the pipe open can't hold up the end of its task.
"""

from __future__ import annotations

import array
import fcntl
import os
import select
import termios
import threading

from dagrun.light import Protocol

_CHUNK_BYTES = 1 << 16  # the size of a pipe


class Filter(Protocol):
    """What stands between: it keeps back what may be the beginning of a secret until it knows better."""

    def feed(self, chunk: bytes, /) -> bytes: ...

    def flush(self) -> bytes: ...


class Pump:
    """Copies what is written into `sink` through a filter into a log, whose descriptor it owns."""

    def __init__(self, log_fd: int, mask: Filter) -> None:
        self._log = log_fd
        self._mask = mask
        self._thread = threading.Thread(target=self._run, name="dagrun-mask", daemon=True)
        self._source, self.sink = os.pipe()
        try:
            self._stopped, self._stop = os.pipe()
        except OSError:
            os.close(self._source)
            os.close(self.sink)
            raise
        self._thread.start()

    def release(self) -> None:
        """The process has its own copy of the sink."""
        os.close(self.sink)

    def finish(self) -> None:
        """What was written until now is in the log; the pipe is closed."""
        os.close(self._stop)
        self._thread.join()

    def _run(self) -> None:
        try:
            self._copy()
            self._write(self._mask.flush())
        except OSError:
            pass  # the disk is full or the log is gone: the process learns it from its broken pipe
        finally:
            for fd in (self._source, self._stopped, self._log):
                os.close(fd)

    def _copy(self) -> None:
        poller = select.poll()
        poller.register(self._source, select.POLLIN)
        poller.register(self._stopped, select.POLLIN)
        while True:
            if self._stopped in (fd for fd, _ in poller.poll()):
                return self._drain()
            chunk = os.read(self._source, _CHUNK_BYTES)
            if not chunk:
                return None
            self._write(self._mask.feed(chunk))

    def _drain(self) -> None:
        """Take what lies in the pipe now and no more: whoever still writes might never stop."""
        waiting = array.array("i", [0])
        fcntl.ioctl(self._source, termios.FIONREAD, waiting)
        left = waiting[0]
        while left > 0 and (chunk := os.read(self._source, left)):
            left -= len(chunk)
            self._write(self._mask.feed(chunk))

    def _write(self, data: bytes) -> None:
        while data:
            data = data[os.write(self._log, data) :]
