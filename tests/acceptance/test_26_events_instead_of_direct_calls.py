"""Events instead of direct calls: payment has no client of interview or notification.

Its process has neither their stubs nor a connection to them, and they serve no call of it.
"""

import subprocess
import sys
from pathlib import Path

import pytest

from devstack.commands import PROJECT, service_environment
from tests.system.drivers.effects import STARTED
from tests.system.drivers.running_stack import RunningStack

_PRINT_LOADED_MODULES = "import sys, payment_svc.__main__; print(*sorted(sys.modules), sep='\\n')"
_OTHER_DOMAINS = ("interview.", "interview_svc", "notification.", "notification_svc")


def test_payment_loads_no_client_of_the_others() -> None:
    """Of their modules it loads the messages of interview's events alone."""
    loaded = subprocess.run(  # noqa: S603
        [sys.executable, "-c", _PRINT_LOADED_MODULES],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    assert "sandbox.v1.provider_service_pb2_grpc" in loaded  # its one client
    loaded_of_others = {name for name in loaded if name.startswith(_OTHER_DOMAINS)}
    event_messages = {"interview.v1", "interview.v1.events_pb2", "interview.v1.session_pb2"}
    assert loaded_of_others <= event_messages


def test_payment_has_no_address_of_the_others(shared_stack: RunningStack) -> None:
    """No setting of it names them or has their address."""
    environment = service_environment(shared_stack.devstack, "payment")
    for other in ("interview", "notification"):
        assert not [name for name in environment if other.upper() in name]
        assert shared_stack.devstack.address(other) not in environment.values()
    assert shared_stack.devstack.address("provider") in environment.values()


@pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="reads /proc, which Linux has")
async def test_payment_has_no_connection_to_the_others(shared_stack: RunningStack) -> None:
    """After a whole journey its process has no socket to their ports."""
    journey, order_id, code = await shared_stack.prepare_session()
    await journey.start(code)
    await shared_stack.wait_for_effects(order_id, STARTED)
    ports = _remote_ports(shared_stack.devstack.pid("payment"))
    used = {shared_stack.devstack.port("postgres"), shared_stack.devstack.port("nats")}
    assert used <= ports
    assert not ports & {
        shared_stack.devstack.port("interview"),
        shared_stack.devstack.port("notification"),
    }


def _remote_ports(pid: int) -> set[int]:
    """The remote ports of a process's TCP connections."""
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


async def test_the_others_serve_no_call_of_payment(shared_stack: RunningStack) -> None:
    """During a whole journey they serve calls, but none of payment."""
    journey, order_id, code = await shared_stack.prepare_session()
    await journey.start(code)
    await shared_stack.wait_for_effects(order_id, STARTED)
    await journey.wait_for_sent_mail(order_id)
    for other in ("interview", "notification"):
        calls = await shared_stack.wait_for_log_entries(other, event="call")
        callers = {call.get("caller", "") for call in calls}
        assert not [caller for caller in callers if caller.endswith(":payment")]
