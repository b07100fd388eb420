"""Processes come and go in any order, say what they lack, and finish what they began."""

import asyncio
import os
import sys
from collections.abc import Mapping

import grpc
import pytest

from devstack.commands import PROJECT, service_environment
from devstack.polling import wait_until
from devstack.servers.postgres import SERVICES
from payment.v1 import payment_service_pb2
from tests.system.drivers.effects import PAID, STARTED
from tests.system.drivers.grpc_calls import retry
from tests.system.drivers.health import health_status, wait_for_health
from tests.system.drivers.running_stack import RunningStack

_PATHS = os.pathsep.join([str(PROJECT), str(PROJECT / "gen")])


async def _ends(
    *module: str, environment: Mapping[str, str] | None = None
) -> tuple[int | None, str]:
    """Runs a module to its end: exit status, and all that it said."""
    kept = {name: value for name, value in os.environ.items() if name in {"PATH", "HOME", "LANG"}}
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-P",
        "-m",
        *module,
        env={**kept, "PYTHONPATH": _PATHS, **(environment or {})},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        said, _ = await asyncio.wait_for(process.communicate(), 60)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return process.returncode, said.decode()


async def test_services_started_before_their_servers_wait_and_then_serve(
    disruptable_stack: RunningStack,
) -> None:
    """First PostgreSQL comes, then they serve; then NATS, and the bus works too."""
    stack = disruptable_stack.devstack
    for name in (*SERVICES, "nats", "postgres"):
        await stack.kill(name)
    seen = {
        name: len(disruptable_stack.log_entries(name, event="waiting for the database"))
        for name in SERVICES
    }
    async with asyncio.TaskGroup() as starting:
        for name in SERVICES:
            starting.create_task(stack.start(name))

        async def all_wait() -> bool:
            return all(
                len(disruptable_stack.log_entries(name, event="waiting for the database"))
                > seen[name]
                for name in SERVICES
            )

        await wait_until(all_wait, "all services wait for the database", 60)
        await stack.start("postgres")
    for name in SERVICES:
        assert await health_status(disruptable_stack, name, "") == "SERVING"
        await wait_for_health(disruptable_stack, name, "bus", "NOT_SERVING")
    journey = disruptable_stack.journey()
    order_id = (await retry(journey.order, "an order")).order_id
    await journey.pay(order_id)
    await stack.start("nats")
    for name in SERVICES:
        await wait_for_health(disruptable_stack, name, "bus", "SERVING")
    await disruptable_stack.wait_for_effects(order_id, PAID)


@pytest.mark.parametrize("server", ["nats", "postgres"])
async def test_sigterm_ends_a_service_that_never_met_its_server(
    disruptable_stack: RunningStack, server: str
) -> None:
    """It waits, is told to stop, and stops: exit status 0."""
    stack = disruptable_stack.devstack
    await stack.kill("notification")
    await stack.kill(server)
    event = "waiting for the database" if server == "postgres" else "serving"
    seen = len(disruptable_stack.log_entries("notification", event=event))
    starting = asyncio.create_task(stack.start("notification"))

    async def look() -> bool:
        return len(disruptable_stack.log_entries("notification", event=event)) > seen

    try:
        await wait_until(look, f"notification says {event!r}", 60)
        process = stack._processes["notification"]
        await stack.terminate("notification")
    finally:
        starting.cancel()
        await asyncio.wait({starting})
    assert process.status == 0


async def test_sigterm_lets_a_payment_in_flight_finish(disruptable_stack: RunningStack) -> None:
    """The provider is slow; the call gets its answer, and the process ends with status 0."""
    journey = disruptable_stack.journey()
    order_id = (await journey.order()).order_id
    call = asyncio.create_task(journey.pay(order_id, "sandbox_slow"))

    async def charged() -> bool:
        return disruptable_stack.charge_count(order_id) == 1

    await wait_until(charged, "the charge")
    process = disruptable_stack.devstack._processes["payment"]
    await disruptable_stack.devstack.terminate("payment")
    assert process.status == 0
    assert (await call).status == payment_service_pb2.PAYMENT_STATUS_SUCCEEDED
    assert disruptable_stack.log_entries("payment", event="stopped")
    # The last pass of the relay has published what the call announced.
    assert await disruptable_stack.message_count(f"payment.v1.PaymentCompleted.{order_id}") == 1
    await disruptable_stack.devstack.start("payment")
    await disruptable_stack.wait_for_effects(order_id, PAID)


@pytest.mark.parametrize("service", SERVICES)
async def test_sigterm_under_load_breaks_no_call(
    disruptable_stack: RunningStack, service: str
) -> None:
    """Calls end OK or UNAVAILABLE; what was answered OK has all its effects."""
    paid: list[str] = []
    enough = False

    async def customers() -> None:
        while not enough:
            journey = disruptable_stack.journey()
            order_id = (await retry(journey.order, "an order")).order_id
            await retry(lambda: journey.pay(order_id), "a payment")  # noqa: B023
            paid.append(order_id)
            session = await retry(lambda: journey.prepared(order_id), "a session")  # noqa: B023
            assert session.order_id == order_id
            code = (await disruptable_stack.access_code(order_id)).code
            await retry(lambda: journey.start(code), "an interview")  # noqa: B023

    async def restart() -> None:
        nonlocal enough
        try:
            await _longer(paid, 6)
            process = disruptable_stack.devstack._processes[service]
            await disruptable_stack.devstack.terminate(service)
            assert process.status == 0
            await disruptable_stack.devstack.start(service)
            await _longer(paid, 6)
        finally:
            enough = True

    async with asyncio.TaskGroup() as group:
        for _ in range(4):
            group.create_task(customers())
        group.create_task(restart())
    for order_id in paid:
        await disruptable_stack.wait_for_effects(order_id, STARTED)


async def _longer(orders: list[str], by: int) -> None:
    goal = len(orders) + by

    async def look() -> bool:
        return len(orders) >= goal

    await wait_until(look, f"{by} more orders", 60)


@pytest.mark.parametrize("service", SERVICES)
async def test_missing_settings_are_named(shared_stack: RunningStack, service: str) -> None:
    """Exit status 2 and one line for each variable."""
    status, said = await _ends(f"{service}_svc")
    assert status == 2
    for name in service_environment(shared_stack.devstack, service):
        assert f"setting {name}: " in said
    assert "Traceback" not in said


@pytest.mark.parametrize("service", SERVICES)
async def test_a_wrong_setting_is_named_and_no_secret_told(
    shared_stack: RunningStack, service: str
) -> None:
    """Exit status 2; only the faulty variable is complained of."""
    wrong = f"{service.upper()}_BUS_BATCH_SIZE"
    environment = service_environment(shared_stack.devstack, service)
    status, said = await _ends(f"{service}_svc", environment={**environment, wrong: "0"})
    assert status == 2
    assert said.startswith(f"setting {wrong}: ")
    assert len(said.splitlines()) == 1


@pytest.mark.parametrize("service", SERVICES)
async def test_a_taken_port_is_told(shared_stack: RunningStack, service: str) -> None:
    """Exit status 1, and the address in the message; the holder goes on."""
    address = shared_stack.devstack.address(service)
    environment = service_environment(shared_stack.devstack, service)
    status, said = await _ends(f"{service}_svc", environment=environment)
    assert status == 1
    (line,) = [line for line in said.splitlines() if "could not start" in line]
    assert f"can't listen on {address}" in line
    assert "Traceback" not in said
    assert await health_status(shared_stack, service, "") == "SERVING"


@pytest.mark.parametrize("service", SERVICES)
async def test_a_database_that_is_not_migrated_is_told(
    shared_stack: RunningStack, service: str
) -> None:
    """After the time to wait: exit status 1 and the reason."""
    environment = dict(service_environment(shared_stack.devstack, service))
    prefix = service.upper()
    url = environment[f"{prefix}_DATABASE_URL"]
    environment[f"{prefix}_DATABASE_URL"] = f"{url.rpartition('/')[0]}/postgres"
    environment[f"{prefix}_START_SECONDS"] = "0.1"
    status, said = await _ends(f"{service}_svc", environment=environment)
    assert status == 1
    assert "could not start" in said
    assert "alembic_version" in said
    assert "Traceback" not in said


async def test_a_second_devstack_on_the_same_data_is_refused(shared_stack: RunningStack) -> None:
    """Exit status 1, naming the directory and the process; the first one isn't harmed."""
    directory = shared_stack.devstack.directory
    for command in ("up", "demo", "clean"):
        status, said = await _ends("devstack", command, "--data-dir", str(directory))
        assert status == 1
        assert said.startswith(f"devstack: {directory} is in use by another devstack")
        assert str(os.getpid()) in said
    assert shared_stack.devstack.ended() == {}
    journey = shared_stack.journey()
    with pytest.raises(grpc.aio.AioRpcError):
        await journey.start("nonsense")
    await shared_stack.wait_for_effects(await journey.paid_order(), PAID)
