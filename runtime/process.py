"""The lifecycle of a service process: start, run until a signal, graceful shutdown.

Shutdown: health reports NOT_SERVING; calls in flight finish within SHUTDOWN_GRACE_SECONDS; the
workers finish their current work, concurrently and within one time limit; then the relay publishes
what they committed; the broker connection is flushed, the pool closes. A crash at any point loses
nothing: what was committed is published at the next start.
"""

import asyncio
import os
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import TypeVar

import structlog
import uvloop
from sqlalchemy.ext.asyncio import AsyncEngine

from eventbus.jetstream import JetStream
from runtime import logging, redaction
from runtime.addresses import PortTaken
from runtime.auth.keys import KeysUnreadable
from runtime.database.engine import (
    DatabaseNotReady,
    UnsafeRole,
    UnsuitablePooler,
    check_pooler,
    wait_until_ready,
)
from runtime.metrics.http_server import MetricsServer
from runtime.process_group import ProcessGroup
from runtime.rpc.server import GrpcServer
from runtime.rpc.tls import CertificateUnreadable
from runtime.service_name import ServiceName
from runtime.settings import ServiceSettings, read, warn_of_unknown_variables
from runtime.signals import run_until_signal
from runtime.workers import Worker

_log = structlog.get_logger(__name__)
# With the default grace period this stays within the 30 s that platforms wait before a kill.
_WORKER_SECONDS, _RELAY_SECONDS = 15.0, 5.0
_CANNOT_START = (
    CertificateUnreadable,
    DatabaseNotReady,
    KeysUnreadable,
    PortTaken,
    UnsafeRole,
    UnsuitablePooler,
)
Settings = TypeVar("Settings", bound=ServiceSettings)
Serve = Callable[[Settings, asyncio.Event], Awaitable[None]]


class Process:
    """One service process."""

    def __init__(
        self,
        config: ServiceSettings,
        name: ServiceName,
        engine: AsyncEngine,
        broker: JetStream,
        server: GrpcServer,
        workers: Sequence[Worker],
        relay: Worker,
        http: MetricsServer,
    ) -> None:
        """The relay stops after the other workers, so that their last events are published."""
        self._config, self._name, self._engine, self._broker = config, name, engine, broker
        self._server, self._workers, self._http = server, workers, http
        self._relay = relay
        self._tasks: dict[Worker, asyncio.Task[None]] = {}

    async def run(self, stop: asyncio.Event) -> None:
        """Runs until `stop` is set; raises DatabaseNotReady, or the error that ended a worker."""
        try:
            if not await self._database_ready(stop):
                return
            self._broker.open()
            self._tasks = {
                one: asyncio.create_task(one.run()) for one in [*self._workers, self._relay]
            }
            self._http.listen(self._config.metrics_listen)
            ports = await self._server.start()
            _log.info("serving", ports=ports)
            stopped = asyncio.create_task(stop.wait())
            await asyncio.wait(
                {stopped, *self._tasks.values()}, return_when=asyncio.FIRST_COMPLETED
            )
            stopped.cancel()
            _log.info("stopping")
            await self._server.stop(self._config.shutdown_grace_seconds)
        finally:
            await self._stop_workers()
            self._http.close()
            await self._broker.close()
            await self._engine.dispose()
            _log.info("stopped")

    async def _database_ready(self, stop: asyncio.Event) -> bool:
        """Waits for the database; False if stopped meanwhile."""
        seconds = self._config.startup_timeout_seconds
        check = partial(check_pooler, self._config, self._name)
        ready = asyncio.create_task(wait_until_ready(self._engine, self._name, seconds, check))
        stopping = asyncio.create_task(stop.wait())
        await asyncio.wait({ready, stopping}, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if not ready.done():
            ready.cancel()
            return False
        ready.result()
        return True

    async def _stop_workers(self) -> None:
        relay = {worker: task for worker, task in self._tasks.items() if worker is self._relay}
        others = {worker: task for worker, task in self._tasks.items() if worker not in relay}
        await _finish(others, _WORKER_SECONDS)
        await _finish(relay, _RELAY_SECONDS)
        for task in self._tasks.values():
            if task.done() and not task.cancelled() and (error := task.exception()):
                raise error


async def _finish(tasks: Mapping[Worker, asyncio.Task[None]], seconds: float) -> None:
    """Stops all workers and waits for them; cancels those that are late."""
    for worker in tasks:
        worker.stop()
    late = (await asyncio.wait(tasks.values(), timeout=seconds))[1] if tasks else set()
    for worker, task in tasks.items():
        if task in late:
            _log.warning("worker did not finish in time", worker=type(worker).__name__)
            task.cancel()


def run(
    name: ServiceName,
    settings: type[Settings],
    serve: Serve[Settings],
    mask_secrets: Callable[[str], str],
) -> None:
    """A service's main: runs it until SIGTERM or SIGINT; exit status 1 if it cannot start.

    `mask_secrets` masks the domain's secrets in all logs, errors and operators' views.
    """
    config = read(settings)
    redaction.add_rule(mask_secrets)
    process = os.getpid() if config.reuse_port or config.processes > 1 else None
    logging.configure(str(name), config.log_level, config.log_format, process)
    warn_of_unknown_variables(settings)
    if config.processes > 1:
        group = ProcessGroup(name, config)
        run_until_signal(group.run, _CANNOT_START)
        raise SystemExit(group.exit_status)
    run_until_signal(lambda stop: serve(config, stop), _CANNOT_START, uvloop.new_event_loop)
