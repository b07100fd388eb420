"""Several processes of one service on one address, so that it uses more than one core.

The first process starts the others with its own command line and supervises them: it passes SIGTERM
and SIGINT on, starts a process again that has ended, and ends with all of them if one cannot even
start. If it is killed itself, the kernel kills them. It serves no calls, and writes the log lines
of all: lines of several processes in one pipe would mix.

The processes share their addresses by SO_REUSEPORT: the kernel gives each new connection to one of
them. Otherwise they are replicas of the service.
"""

import asyncio
import ctypes
import os
import signal
import socket
import sys
from contextlib import ExitStack, suppress

import structlog

from runtime import logging
from runtime.addresses import PortTaken, metrics_port
from runtime.service_name import ServiceName
from runtime.settings import ServiceSettings

_log = structlog.get_logger(__name__)
_RESTART_SECONDS = 1.0
# How long a process may take to stop beyond the grace period of its calls.
_STOP_SECONDS = 25.0
_READ_BYTES = 64 * 1024
_PR_SET_PDEATHSIG = 1


class ProcessGroup:
    """The processes of one service on this machine."""

    def __init__(self, name: ServiceName, config: ServiceSettings) -> None:
        self._config, self._prefix = config, name.settings_prefix
        self._serving_seconds = config.startup_timeout_seconds + _STOP_SECONDS
        self._stop_seconds = config.shutdown_grace_seconds + _STOP_SECONDS
        self.exit_status = 0

    async def run(self, stop: asyncio.Event) -> None:
        """Runs until `stop` is set or a process cannot start; raises PortTaken."""
        addresses = [self._config.listen, self._config.internal_listen]
        with ExitStack() as reserved:
            for address in filter(None, addresses):
                reserved.enter_context(_reserve(address))
                _check_free(address)
            numbers = range(self._config.processes)
            await asyncio.gather(*(self._keep_running(number, stop) for number in numbers))

    async def _keep_running(self, number: int, stop: asyncio.Event) -> None:
        """Runs one process, again whenever it has ended, until `stop` is set."""
        loop = asyncio.get_running_loop()
        has_served = False
        while not stop.is_set():
            started_at = loop.time()
            process = await self._start(number)
            _log.info("process started", number=number, pid=process.pid)
            status = await self._wait(process, stop)
            has_served = has_served or loop.time() - started_at > self._serving_seconds
            if stop.is_set():
                if status not in (0, -signal.SIGTERM):
                    self.exit_status = self.exit_status or 1
                return
            _log.error("process ended", number=number, pid=process.pid, status=status)
            if status >= 0 and not has_served:  # not killed: it would end again
                self.exit_status = status or 1
                stop.set()
                return
            has_served = True  # one that was killed had started
            with suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), _RESTART_SECONDS)

    async def _start(self, number: int) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            *sys.orig_argv,
            env=self._environment(number),
            stderr=asyncio.subprocess.PIPE,
            preexec_fn=_end_with_parent if sys.platform == "linux" else None,
            # Signals of the terminal reach this process only, which passes them on.
            start_new_session=True,
        )

    async def _wait(self, process: asyncio.subprocess.Process, stop: asyncio.Event) -> int:
        """Waits for the end of a process, which is stopped once `stop` is set; its exit status."""
        ended = asyncio.create_task(_relay_log(process))
        stopping = asyncio.create_task(stop.wait())
        await asyncio.wait({ended, stopping}, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if not ended.done():
            process.send_signal(signal.SIGTERM)
            await asyncio.wait({ended}, timeout=self._stop_seconds)
        if not ended.done():
            _log.error("process killed", pid=process.pid)
            process.kill()
        return await ended

    def _environment(self, number: int) -> dict[str, str]:
        environment = {
            **os.environ,
            f"{self._prefix}PROCESSES": "1",
            f"{self._prefix}REUSE_PORT": "true",
        }
        if address := self._config.metrics_listen:
            host, port = address.rpartition(":")[0], metrics_port(address, number)
            environment[f"{self._prefix}METRICS_LISTEN"] = f"{host}:{port}"
        return environment


async def _relay_log(process: asyncio.subprocess.Process) -> int:
    """Writes whole lines of a process's log until it ends; its exit status."""
    assert process.stderr is not None  # noqa: S101  it is a pipe
    rest = b""
    while data := await process.stderr.read(_READ_BYTES):
        lines, newline, rest = (rest + data).rpartition(b"\n")
        if newline:
            logging.write_lines(lines + newline)
    if rest:
        logging.write_lines(rest + b"\n")
    return await process.wait()


def _end_with_parent() -> None:
    """Lets the kernel kill this process when its parent ends: a restart needs its address."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _reserve(address: str) -> socket.socket:
    """Keeps other groups from the address until it is closed; raises PortTaken."""
    name = socket.socket(socket.AF_UNIX)
    if sys.platform != "linux":  # no names that end with their process
        return name
    try:
        name.bind(f"\0mock-interview/{address}")
    except OSError:
        name.close()
        raise PortTaken(f"cannot listen on {address}: other processes of a service do") from None
    return name


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
