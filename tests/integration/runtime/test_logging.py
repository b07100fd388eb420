"""All that a process writes to standard error are JSON lines."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
# A call with TLS to a server without it, of which gRPC's C core writes lines of its own.
_CALL_WITH_TLS = """
import asyncio, importlib, sys
importlib.import_module(sys.argv[1])
import grpc

async def main():
    server = grpc.aio.server()
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    credentials = grpc.ssl_channel_credentials()
    async with grpc.aio.secure_channel(f"127.0.0.1:{port}", credentials) as channel:
        try:
            await channel.unary_unary("/a/b")(b"", timeout=10)
        except grpc.aio.AioRpcError as error:
            print(error.code().name, error.details())

asyncio.run(main())
"""
_WARN_AND_FAIL = """
import warnings
from runtime import logging

logging.configure("payment", "INFO", "json")
warnings.warn("something is deprecated")
raise RuntimeError("postgresql://user:secret@host/name cannot be used by li.hua@example.com")
"""


def run(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "default", "-c", code, *arguments]
    environment = {"PYTHONPATH": f"{ROOT}:{ROOT / 'gen'}"}
    return subprocess.run(  # noqa: S603
        command, env=environment, capture_output=True, text=True, check=False, timeout=60
    )


@pytest.mark.parametrize(
    "program",
    [
        "payment_svc.__main__",
        "interview_svc.__main__",
        "notification_svc.__main__",
        "sandbox_provider.__main__",
        "opsctl.command_line",
        "devstack.__main__",
    ],
)
def test_grpc_writes_no_lines_of_its_own(program: str) -> None:
    """The cause is in the error of the call."""
    result = run(_CALL_WITH_TLS, program)
    assert "UNAVAILABLE" in result.stdout
    assert "WRONG_VERSION_NUMBER" in result.stdout
    assert result.stderr == ""


def test_warnings_and_the_error_that_ends_a_process_are_logged_as_json() -> None:
    result = run(_WARN_AND_FAIL)
    assert result.returncode == 1
    warning, error = map(json.loads, result.stderr.splitlines())
    assert "something is deprecated" in warning["event"]
    assert (error["event"], error["level"]) == ("uncaught exception", "critical")
    assert "RuntimeError" in error["exception"]
    assert "li.hua" not in error["exception"]
