"""Writes log lines to a file descriptor, several at once.

A line waits at most 50 ms. It is written at once if the caller asks for it, together with all lines
before it, or when many wait. What is left at the end of the process is written by `close`.

A pipe whose reader is slow does not stop the process: what the pipe does not take waits in memory,
up to a limit, and is tried again. Lines beyond the limit, and lines that cannot be written, are
dropped and counted; a line says how many as soon as lines are taken and written again.
"""

import os
import select
import threading
import time
from collections import deque
from collections.abc import Callable

_LINGER_SECONDS = 0.03
_WRITE_AT_BYTES = 32_768
_MAX_WAITING_BYTES = 8 * 1024 * 1024
# A pipe that is ready takes as much without blocking, and without a line of another process inside.
_CHUNK_BYTES = select.PIPE_BUF


class LogWriter:
    """Writes whole lines in the order of the calls; safe to call from any thread."""

    def __init__(
        self,
        descriptor: int,
        dropped_line: Callable[[int], bytes],
        max_waiting_bytes: int = _MAX_WAITING_BYTES,
    ) -> None:
        """`dropped_line` makes the line that says how many lines were dropped."""
        self._descriptor, self._dropped_line = descriptor, dropped_line
        self._max_waiting_bytes = max_waiting_bytes
        self._ready = select.poll()
        self._ready.register(descriptor, select.POLLOUT)
        # Reentrant: a destructor that runs meanwhile may log.
        self._lock, self._output = threading.RLock(), threading.RLock()
        self._lines: deque[bytes] = deque()
        self._size = self._dropped = 0
        self._chunk = b""  # taken from the lines and not yet written
        self._writing = self._failing = self._closed = False
        self._waiting = threading.Event()
        threading.Thread(target=self._write_later, name="log writer", daemon=True).start()

    def write(self, line: bytes, *, at_once: bool = False) -> None:
        """Takes a line, or several, which ends with a line break."""
        with self._lock:
            if self._size + len(line) > self._max_waiting_bytes:
                self._dropped += line.count(b"\n")
            else:
                self._append_dropped_line()
                self._append(line)
        if at_once or self._closed or self._size >= _WRITE_AT_BYTES:
            self.flush()
        elif not self._waiting.is_set():
            self._waiting.set()

    def flush(self, seconds: float = 0.0) -> None:
        """Writes what waits; waits up to `seconds` each time that the output takes nothing."""
        with self._output:
            if self._writing:  # by the caller of a destructor: it takes the new line, too
                return
            self._writing = True
            try:
                while self._chunk or self._take_chunk():
                    if not (self._ready.poll(seconds * 1000) and self._write_chunk()):
                        break
            finally:
                self._writing = False
        if self._lines or self._chunk:
            self._waiting.set()

    def close(self, seconds: float = 1.0) -> None:
        """Writes what waits, as `flush` does; every later line is written at once."""
        self._closed = True
        with self._lock:
            self._append_dropped_line()
        self.flush(seconds)
        self._waiting.set()  # ends the thread

    def _append(self, line: bytes) -> None:
        self._lines.append(line)
        self._size += len(line)

    def _append_dropped_line(self) -> None:
        """Where lines are missing, once the output takes lines."""
        if self._dropped and not self._failing:
            dropped, self._dropped = self._dropped, 0
            self._append(self._dropped_line(dropped))

    def _take_chunk(self) -> bool:
        """Takes as many whole lines as fit into a chunk, or one that is longer; False if none."""
        with self._lock:
            lines: list[bytes] = []
            size = 0
            while self._lines and (not lines or size + len(self._lines[0]) <= _CHUNK_BYTES):
                lines.append(self._lines.popleft())
                size += len(lines[-1])
            self._size -= size
            self._chunk = b"".join(lines)
        return bool(lines)

    def _write_chunk(self) -> bool:
        """Writes what it can of the chunk, or drops it; False if the output takes nothing now."""
        try:
            written = os.write(self._descriptor, self._chunk[:_CHUNK_BYTES])
        except BlockingIOError:  # another process has filled the pipe since
            return False
        except OSError:  # no reader, or the disk is full: a later write may succeed
            with self._lock:
                self._dropped += self._chunk.count(b"\n")
            self._chunk, self._failing = b"", True
            return True
        self._chunk, self._failing = self._chunk[written:], False
        return True

    def _write_later(self) -> None:
        while not self._closed:
            self._waiting.wait()
            time.sleep(_LINGER_SECONDS)  # lines of the same moment are written together
            self._waiting.clear()
            self.flush()
