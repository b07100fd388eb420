"""All that a process writes to standard error are JSON lines."""

import json
import os
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
_CONFIGURE = """
import asyncio, sys, threading, structlog
from runtime import logging

logging.configure("payment", "INFO", "json")
log = structlog.get_logger("product")

async def stop():
    sys.exit(0)

"""
_FAIL_ASIDE = """
class Failing:
    def __del__(self):
        raise ValueError("li.hua@example.com")

def fail():
    raise ValueError("li.hua@example.com")

thread = threading.Thread(target=fail)
thread.start()
thread.join()
failing = Failing()
del failing
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


def run_with_stderr(descriptor: int, code: str) -> int:
    """The exit status of a program that logs to a descriptor."""
    environment = {"PYTHONPATH": f"{ROOT}:{ROOT / 'gen'}"}
    command = [sys.executable, "-c", _CONFIGURE + code]
    return subprocess.run(  # noqa: S603
        command, env=environment, stderr=descriptor, check=False, timeout=60
    ).returncode


@pytest.mark.parametrize("end", ["", "asyncio.run(stop())"])
def test_an_orderly_end_loses_no_line(end: str) -> None:
    result = run(_CONFIGURE + "for n in range(1000):\n    log.info(str(n))\n" + end)
    assert result.returncode == 0
    events = [json.loads(line)["event"] for line in result.stderr.splitlines()]
    assert events == [str(number) for number in range(1000)]


def test_a_fatal_error_is_the_last_line_after_all_others() -> None:
    result = run(_CONFIGURE + 'log.info("one")\nraise ValueError("no")')
    assert result.returncode == 1
    events = [json.loads(line)["event"] for line in result.stderr.splitlines()]
    assert events == ["one", "uncaught exception"]


def test_errors_in_threads_and_destructors_are_logged_as_json() -> None:
    result = run(_CONFIGURE + _FAIL_ASIDE)
    thread, destructor = map(json.loads, result.stderr.splitlines())
    assert (thread["event"], thread["level"]) == ("uncaught exception in a thread", "error")
    assert (destructor["event"], destructor["level"]) == ("exception ignored", "error")
    for entry in (thread, destructor):
        assert "ValueError" in entry["exception"]
        assert "li.hua" not in json.dumps(entry)


def test_a_reader_that_is_gone_ends_no_process() -> None:
    reader, end = os.pipe()
    os.close(reader)
    try:
        assert run_with_stderr(end, 'log.error("one")\nlog.info("two")\nsys.exit(7)') == 7
    finally:
        os.close(end)


def test_a_reader_that_does_not_read_ends_and_blocks_no_process() -> None:
    reader, end = os.pipe()
    try:
        code = 'for n in range(10_000):\n    log.error("x" * 100)\nsys.exit(7)'
        assert run_with_stderr(end, code) == 7
    finally:
        os.close(reader)
        os.close(end)


def test_a_closed_standard_error_leaves_other_files_alone(tmp_path: Path) -> None:
    """The next file gets its number, such as the connection to the database."""
    file = tmp_path / "file"
    closed = f"import os, sys\nos.close(2)\nsys.stderr = None\nfile = open({str(file)!r}, 'w')\n"
    result = run(f"{closed}assert file.fileno() == 2\n{_CONFIGURE}log.error('one')\nfile.close()")
    assert result.returncode == 0
    assert file.read_text("utf-8") == ""
