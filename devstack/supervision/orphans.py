"""What a killed stack left running."""

import asyncio
import contextlib
import json
import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from devstack.errors import DevstackError
from devstack.supervision.process_identity import identify

_POLL = 0.02
_GRACE = 15.0
_KILL_LIMIT = 10.0


@dataclass(frozen=True)
class Orphan:
    """A process that a former stack started and didn't see end."""

    name: str
    pid: int
    identity: str
    stop_signal: int
    file: Path

    @classmethod
    def read(cls, file: Path) -> Self | None:
        try:
            return cls(name=file.stem, file=file, **json.loads(file.read_text()))
        except (OSError, ValueError, TypeError):  # half-written when the stack was killed
            file.unlink(missing_ok=True)
            return None

    @property
    def is_alive(self) -> bool:
        return identify(self.pid) == self.identity

    async def end(self) -> bool:
        """Ends it, if need be by SIGKILL; False if it wasn't there any more."""
        found = self.is_alive
        if not await self._ended_by(self.stop_signal, _GRACE):
            await self._ended_by(signal.SIGKILL, _KILL_LIMIT)
        if self.is_alive:
            raise DevstackError(f"{self.name} (process {self.pid}), left over, can't be killed")
        self.file.unlink(missing_ok=True)
        return found

    async def _ended_by(self, number: int, limit: float) -> bool:
        deadline = time.monotonic() + limit
        for each in (number, signal.SIGCONT):  # a suspended one hears nothing else
            if self.is_alive:
                self._send(each)
        while self.is_alive:
            if time.monotonic() > deadline:
                return False
            await asyncio.sleep(_POLL)
        return True

    def _send(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)
