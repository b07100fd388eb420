"""Several processes of one service on one address, so that it uses more than one core.

The first process starts the others with its own command line and supervises them: it passes SIGTERM
and SIGINT on, starts a process again that was killed, and ends with all of them if one cannot run.
If it is killed itself, the kernel kills them. It serves no calls.

The processes share their addresses by SO_REUSEPORT: the kernel gives each new connection to one of
them. Otherwise they are replicas of the service.
"""

import asyncio
import ctypes
import os
import signal
import socket
import sys

import structlog

from runtime.rpc.server import PortTaken
from runtime.service_name import ServiceName
from runtime.settings import ServiceSettings

_log = structlog.get_logger(__name__)
_RESTART_SECONDS = 0.5
_PR_SET_PDEATHSIG = 1


class ProcessGroup:
    """The processes of one service on this machine."""

    def __init__(self, name: ServiceName, config: ServiceSettings) -> None:
        self._config = config
        self._prefix = name.settings_prefix
        self.exit_status = 0

    async def run(self, stop: asyncio.Event) -> None:
        """Runs until `stop` is set or a process cannot run; raises PortTaken."""
        for address in (self._config.listen, self._config.internal_listen):
            if address:
                _check_free(address)
        numbers = range(self._config.processes)
        await asyncio.gather(*(self._keep_running(number, stop) for number in numbers))

    async def _keep_running(self, number: int, stop: asyncio.Event) -> None:
        """Runs one process, again whenever it was killed, until `stop` is set."""
        while not stop.is_set():
            process = await asyncio.create_subprocess_exec(
                *sys.orig_argv,
                env=self._environment(number),
                preexec_fn=_end_with_parent if sys.platform == "linux" else None,
                # Signals of the terminal reach this process only, which passes them on.
                start_new_session=True,
            )
            _log.info("process started", number=number, pid=process.pid)
            status = await _wait(process, stop)
            if stop.is_set():
                return
            _log.error("process ended", number=number, pid=process.pid, status=status)
            if status >= 0:  # not by a signal: it would end again
                self.exit_status = status or 1
                stop.set()
                return
            await asyncio.sleep(_RESTART_SECONDS)

    def _environment(self, number: int) -> dict[str, str]:
        environment = {
            **os.environ,
            f"{self._prefix}PROCESSES": "1",
            f"{self._prefix}REUSE_PORT": "true",
        }
        if address := self._config.metrics_listen:
            host, _, port = address.rpartition(":")
            environment[f"{self._prefix}METRICS_LISTEN"] = f"{host}:{int(port) + number}"
        return environment


async def _wait(process: asyncio.subprocess.Process, stop: asyncio.Event) -> int:
    """Waits for the end of a process, which gets SIGTERM once `stop` is set; its exit status."""
    ended = asyncio.create_task(process.wait())
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait({ended, stopping}, return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if not ended.done():
        process.send_signal(signal.SIGTERM)
    return await ended


def _end_with_parent() -> None:
    """Lets the kernel kill this process when its parent ends: a restart needs its address."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _check_free(address: str) -> None:
    """Raises PortTaken if a server listens there: with SO_REUSEPORT, ours would share its calls."""
    host, _, port = address.rpartition(":")
    family, kind, protocol, _, where = socket.getaddrinfo(
        host.strip("[]"), int(port), type=socket.SOCK_STREAM
    )[0]
    with socket.socket(family, kind, protocol) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(where)
        except OSError as error:
            raise PortTaken(f"cannot listen on {address}: {error.strerror}") from error
