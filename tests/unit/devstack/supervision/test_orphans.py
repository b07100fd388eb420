"""The next start terminates what a killed stack left running, and no other process."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from devstack.supervision.orphans import Orphan, write_pid_file
from devstack.supervision.processes import Supervisor

_IGNORE_SIGTERM = """
import signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("ready", flush=True)
time.sleep(60)
"""


@pytest.fixture
def child() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as process:
        yield process
        process.kill()


@pytest.fixture
def pid_file(tmp_path: Path) -> Path:
    return tmp_path / "pids" / "payment.json"


def terminate_orphans(directory: Path) -> list[str]:
    return asyncio.run(Supervisor(directory).terminate_orphans())


def test_an_orphan_is_terminated_and_reported(
    child: subprocess.Popen[bytes], pid_file: Path, tmp_path: Path
) -> None:
    write_pid_file(pid_file, child.pid, signal.SIGINT)
    assert terminate_orphans(tmp_path) == ["payment"]
    assert child.wait(5) == -signal.SIGINT
    assert not pid_file.exists()


def test_a_suspended_orphan_is_terminated(
    child: subprocess.Popen[bytes], pid_file: Path, tmp_path: Path
) -> None:
    write_pid_file(pid_file, child.pid, signal.SIGTERM)
    child.send_signal(signal.SIGSTOP)
    assert terminate_orphans(tmp_path) == ["payment"]
    assert child.wait(5) == -signal.SIGTERM


def test_an_orphan_that_ignores_its_stop_signal_is_killed(
    pid_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("devstack.supervision.orphans._GRACE_SECONDS", 0.1)
    command = [sys.executable, "-c", _IGNORE_SIGTERM]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as child:  # noqa: S603
        assert child.stdout is not None
        child.stdout.readline()
        write_pid_file(pid_file, child.pid, signal.SIGTERM)
        assert terminate_orphans(tmp_path) == ["payment"]
        assert child.wait(5) == -signal.SIGKILL


@pytest.mark.parametrize("seconds", [-1.0, -0.01, 0.01, 1.0])
def test_a_process_that_reuses_the_id_of_an_orphan_is_not_signalled(
    child: subprocess.Popen[bytes], pid_file: Path, tmp_path: Path, seconds: float
) -> None:
    write_pid_file(pid_file, child.pid, signal.SIGTERM)
    entry = json.loads(pid_file.read_text())
    pid_file.write_text(json.dumps(entry | {"start_time": entry["start_time"] + seconds}))
    assert terminate_orphans(tmp_path) == []
    assert child.poll() is None
    assert not pid_file.exists()


def test_a_dead_process_that_is_not_reaped_is_no_orphan(
    child: subprocess.Popen[bytes], pid_file: Path
) -> None:
    write_pid_file(pid_file, child.pid, signal.SIGTERM)
    os.kill(child.pid, signal.SIGKILL)
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert Orphan.find(pid_file) is None


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"pid": 1', '{"pid": "x", "start_time": 0}'])
def test_an_unreadable_pid_file_is_removed(pid_file: Path, tmp_path: Path, content: str) -> None:
    pid_file.parent.mkdir()
    pid_file.write_text(content)
    assert terminate_orphans(tmp_path) == []
    assert not pid_file.exists()
