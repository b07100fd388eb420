"""Runs the measured programs and peers as processes, and ends them."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import psutil

from devstack.commands import service_environment
from devstack.polling import wait_until
from devstack.stack import Stack
from devstack.supervision.ports import Port
from devstack.supervision.probes import grpc_is_serving

_START_SECONDS = 30.0
_TAIL = 2_000  # characters of a log in an error


async def run_subject(
    name: str, environment: Mapping[str, str], *arguments: str, log: Path
) -> dict[str, Any]:
    """Runs a program of `bench.subjects` to its end; returns the JSON object that it prints."""
    with log.open("wb") as stderr:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", f"bench.subjects.{name}", *arguments,
            env={**os.environ, **environment}, stdout=asyncio.subprocess.PIPE, stderr=stderr,
        )  # fmt: skip
        try:
            output, _ = await process.communicate()
        finally:
            if process.returncode is None:
                process.kill()
    if process.returncode:
        raise RuntimeError(f"{name} ended with status {process.returncode}:\n{_tail(log)}")
    result: dict[str, Any] = json.loads(output)
    return result


@asynccontextmanager
async def running_server(
    name: str, environment: Mapping[str, str], log: Path
) -> AsyncIterator[tuple[str, int]]:
    """A gRPC server of `bench.subjects` on a free port: its address and process id."""
    with closing(Port.claim(0)) as port:
        command = [f"bench.subjects.{name}", port.address]
        async with _running(command, environment, port.address, log) as pid:
            yield port.address, pid


@asynccontextmanager
async def running_payment(
    environment: Mapping[str, str], processes: int, log: Path
) -> AsyncIterator[str]:
    """A payment service of several processes on a free port: its address."""
    with closing(Port.claim(0)) as port:
        own = {
            "PAYMENT_LISTEN": port.address,
            "PAYMENT_INTERNAL_LISTEN": "",
            "PAYMENT_PROCESSES": str(processes),
        }
        async with _running(["payment_svc"], {**environment, **own}, port.address, log):
            yield port.address


@asynccontextmanager
async def _running(
    module: Sequence[str], environment: Mapping[str, str], address: str, log: Path
) -> AsyncIterator[int]:
    """A module that serves at an address: its process id."""
    with log.open("wb") as stderr:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", *module, env={**os.environ, **environment}, stderr=stderr
        )
    try:
        await wait_until(lambda: grpc_is_serving(address), f"{module[0]} serves", _START_SECONDS)
        yield process.pid
    finally:
        if process.returncode is None:
            process.terminate()
            await process.wait()


def _tail(log: Path) -> str:
    return log.read_text("utf-8", "replace")[-_TAIL:]


def cpu_seconds(pid: int) -> float:
    """The CPU time that a process has used."""
    times = psutil.Process(pid).cpu_times()
    return times.user + times.system


def settings_of(stack: Stack, service: str) -> dict[str, str]:
    """The environment with which the stack starts a service."""
    return {**service_environment(stack, service), **stack.settings.environment.get(service, {})}
