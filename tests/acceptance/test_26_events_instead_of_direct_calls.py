"""Events instead of direct calls: payment has no client of interview or notification.

Its process holds neither their stubs nor a connection to them, and they never hear from it.
"""

import subprocess
import sys
from pathlib import Path

import pytest

from devstack.commands import PROJECT, service_environment
from tests.system.drivers.running_stack import STARTED, RunningStack

_LOADED = "import sys, payment_svc.__main__; print(*sorted(sys.modules), sep='\\n')"
_NEIGHBOURS = ("interview.", "interview_svc", "notification.", "notification_svc")


def test_proof_26_payments_process_loads_no_client_of_the_others() -> None:
    """All that it knows of them are interview's events, and what those refer to."""
    loaded = subprocess.run(  # noqa: S603
        [sys.executable, "-c", _LOADED], cwd=PROJECT, capture_output=True, text=True, check=True
    ).stdout.split()
    assert "sandbox.v1.provider_service_pb2_grpc" in loaded  # the look works: this client it has
    foreign = {name for name in loaded if name.startswith(_NEIGHBOURS)}
    messages = {"interview.v1", "interview.v1.events_pb2", "interview.v1.session_pb2"}
    assert foreign <= messages


def test_proof_26_payment_is_told_no_address_of_the_others(shared_stack: RunningStack) -> None:
    """None of its settings names them or where they are."""
    told = service_environment(shared_stack.stack, "payment")
    for other in ("interview", "notification"):
        assert not [name for name in told if other.upper() in name]
        assert shared_stack.stack.address(other) not in told.values()
    assert shared_stack.stack.address("provider") in told.values()


@pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="reads /proc, which Linux has")
async def test_proof_26_payment_has_no_connection_to_the_others(shared_stack: RunningStack) -> None:
    """After a whole journey its process holds no socket to their ports."""
    journey, order_id, code = await shared_stack.prepared()
    await journey.start(code)
    await shared_stack.wait_for_effects(order_id, STARTED)
    ports = _remote_ports(shared_stack.stack.pid("payment"))
    assert {
        shared_stack.stack.port("postgres"),
        shared_stack.stack.port("nats"),
    } <= ports  # the look works
    assert not ports & {
        shared_stack.stack.port("interview"),
        shared_stack.stack.port("notification"),
    }


def _remote_ports(pid: int) -> set[int]:
    """Remote ports of a process's TCP connections."""
    inodes = set()
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        try:
            target = str(entry.readlink())
        except FileNotFoundError:
            continue
        if target.startswith("socket:["):
            inodes.add(target[8:-1])
    tables = [Path(f"/proc/{pid}/net/{table}") for table in ("tcp", "tcp6")]
    lines = [line.split() for table in tables for line in table.read_text("ascii").splitlines()[1:]]
    return {int(fields[2].rpartition(":")[2], 16) for fields in lines if fields[9] in inodes}


async def test_proof_26_the_others_never_hear_a_call_of_payment(shared_stack: RunningStack) -> None:
    """In a whole journey they serve calls, and none of them comes from payment."""
    journey, order_id, code = await shared_stack.prepared()
    await journey.start(code)
    await shared_stack.wait_for_effects(order_id, STARTED)
    await journey.sent(order_id)
    for other in ("interview", "notification"):
        callers = {call.get("caller", "") for call in shared_stack.log_lines(other, event="call")}
        assert callers
        assert not [caller for caller in callers if caller.endswith(":payment")]
