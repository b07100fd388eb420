"""The load generator: ghz, which is written in Go, so that the client is not what is measured."""

import asyncio
import json
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from google.protobuf.descriptor import FileDescriptor, ServiceDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorSet

_NANOSECONDS = 1e9
_MILLISECONDS = 1e6


class LoadGeneratorMissing(Exception):
    """ghz is not installed."""


@dataclass(frozen=True, slots=True)
class Load:
    """`callers` call one after the other; with a `rate`, calls start at it, whatever the replies.

    `rate` is calls per second, `deadline_ms` each call's deadline.
    """

    seconds: float
    callers: int = 64
    rate: int = 0
    deadline_ms: int = 20_000
    connections: int = 2


@dataclass(frozen=True, slots=True)
class LoadReport:
    """The outcome of a load: calls by status code, OK calls per second, latencies of all calls."""

    codes: Mapping[str, int]
    ok_per_second: float
    latency_ms: Mapping[int, float]

    @property
    def ok(self) -> int:
        return self.codes.get("OK", 0)


def find_ghz() -> str:
    """The path of ghz; raises LoadGeneratorMissing."""
    if path := shutil.which("ghz"):
        return path
    raise LoadGeneratorMissing("ghz is needed: `make bench` installs it; else put it on the PATH")


async def generate_load(
    target: str,
    service: ServiceDescriptor,
    method: str,
    requests: Sequence[Mapping[str, Any]],
    load: Load,
    token: str = "",
) -> LoadReport:
    """Calls a method with the requests in turn, as long as `load` says."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        (directory / "contract.binpb").write_bytes(_descriptor_set(service.file))
        (directory / "requests.json").write_text(json.dumps(list(requests)), "utf-8")
        metadata = {"authorization": f"Bearer {token}"} if token else {}
        command = [
            find_ghz(),
            "--insecure",
            f"--protoset={directory / 'contract.binpb'}",
            f"--call={service.full_name}/{method}",
            f"--data-file={directory / 'requests.json'}",
            f"--metadata={json.dumps(metadata)}",
            f"--concurrency={load.callers}",
            f"--connections={load.connections}",
            f"--duration={round(load.seconds * 1000)}ms",
            "--duration-stop=ignore",
            f"--timeout={load.deadline_ms}ms",
            "--format=json",
            *([f"--rps={load.rate}", "--async"] if load.rate else []),
            target,
        ]
        process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
        try:
            output, _ = await process.communicate()
        finally:
            if process.returncode is None:
                process.kill()
    if process.returncode:
        raise RuntimeError(f"ghz ended with status {process.returncode}")
    return _report(json.loads(output))


def _report(result: Mapping[str, Any]) -> LoadReport:
    codes = {str(code): int(count) for code, count in result["statusCodeDistribution"].items()}
    latencies = {
        int(entry["percentage"]): entry["latency"] / _MILLISECONDS
        for entry in result["latencyDistribution"] or ()
    }
    seconds = result["total"] / _NANOSECONDS
    return LoadReport(codes, codes.get("OK", 0) / seconds, latencies)


def _descriptor_set(file: FileDescriptor) -> bytes:
    """A contract file and all that it imports, dependencies first."""
    found: dict[str, FileDescriptor] = {}

    def add(one: FileDescriptor) -> None:
        for dependency in one.dependencies:
            add(dependency)
        found.setdefault(one.name, one)

    add(file)
    files = FileDescriptorSet()
    for one in found.values():
        one.CopyToProto(files.file.add())
    return files.SerializeToString()
