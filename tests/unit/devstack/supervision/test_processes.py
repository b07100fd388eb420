"""Child processes end with the parent, and with their own children."""

import asyncio
import signal
import sys
from pathlib import Path

import psutil
import pytest

from devstack.errors import NotReadyError, ProcessFailedError
from devstack.polling import wait_until
from devstack.supervision.processes import Program, Supervisor

_SLEEP = "import time; time.sleep(60)"
_WITH_CHILD = f"""
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", "{_SLEEP}"], start_new_session=True)
print(child.pid, flush=True)
child.wait()
"""
_SUPERVISE = f"""
import sys, time
from pathlib import Path
from devstack.supervision.processes import Program, Supervisor
program = Program("child", [sys.executable, "-c", "{_SLEEP}"])
print(Supervisor(Path(sys.argv[1])).spawn(program).pid, flush=True)
time.sleep(60)
"""


def program(code: str) -> Program:
    return Program("child", [sys.executable, "-u", "-c", code])


async def _never() -> bool:
    return False


async def _wait_for_end(pid: int) -> None:
    async def has_ended() -> bool:
        try:
            return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return True

    await wait_until(has_ended, f"the end of process {pid}", 10)


async def test_a_running_child_has_a_pid_file(tmp_path: Path) -> None:
    child = Supervisor(tmp_path).spawn(program(_SLEEP))
    assert (tmp_path / "pids" / "child.json").exists()
    await child.terminate()
    assert child.exit_status == -signal.SIGTERM
    assert not (tmp_path / "pids" / "child.json").exists()


async def test_a_suspended_child_can_be_terminated(tmp_path: Path) -> None:
    child = Supervisor(tmp_path).spawn(program(_SLEEP))
    child.signal(signal.SIGSTOP)
    await child.terminate()
    assert child.exit_status == -signal.SIGTERM


async def test_a_killed_child_takes_its_children_of_other_process_groups_along(
    tmp_path: Path,
) -> None:
    child = Supervisor(tmp_path).spawn(program(_WITH_CHILD))

    async def grandchild() -> int | None:
        return int(child.log.tail() or 0) or None

    pid = await wait_until(grandchild, "the id of the grandchild")
    await child.kill()
    assert child.exit_status == -signal.SIGKILL
    await _wait_for_end(pid)


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel has no signal on parent death")
async def test_a_child_is_killed_when_its_parent_is_killed(tmp_path: Path) -> None:
    parent = await asyncio.create_subprocess_exec(
        sys.executable, "-c", _SUPERVISE, str(tmp_path), stdout=asyncio.subprocess.PIPE
    )
    assert parent.stdout is not None
    pid = int(await parent.stdout.readline())
    parent.kill()
    await parent.wait()
    await _wait_for_end(pid)


async def test_an_early_exit_is_reported_with_the_status_and_the_output(tmp_path: Path) -> None:
    child = Supervisor(tmp_path).spawn(program("print('no disk'); raise SystemExit(3)"))
    with pytest.raises(ProcessFailedError, match="child exited with status 3") as failed:
        await child.wait_until_ready(_never, 30)
    assert "no disk" in str(failed.value)
    assert str(tmp_path / "logs" / "child.log") in str(failed.value)


async def test_a_child_that_does_not_become_ready_is_reported(tmp_path: Path) -> None:
    child = Supervisor(tmp_path).spawn(program(_SLEEP))
    with pytest.raises(NotReadyError, match=r"child was not ready after 0\.1 s"):
        await child.wait_until_ready(_never, 0.1)
    await child.kill()


async def test_a_step_that_does_not_finish_in_time_is_killed(tmp_path: Path) -> None:
    with pytest.raises(NotReadyError):
        await Supervisor(tmp_path).run(program(_SLEEP), 0.1)
    assert list((tmp_path / "pids").iterdir()) == []


async def test_the_log_of_the_former_run_is_kept(tmp_path: Path) -> None:
    for number in (1, 2, 3):
        await Supervisor(tmp_path).run(program(f"print({number})"), 30)
    logs = tmp_path / "logs"
    assert (logs / "child.log").read_text() == "3\n"
    assert (logs / "child.previous.log").read_text() == "2\n"


async def test_a_signal_to_an_exited_child_is_ignored(tmp_path: Path) -> None:
    child = Supervisor(tmp_path).spawn(program(""))
    assert await child.wait_for_exit(30)
    child.signal(signal.SIGTERM)
    await child.terminate()
    await child.kill()
    assert child.exit_status == 0
