"""Processes start and stop in any order, report missing dependencies, and finish calls."""

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


async def _run_module(
    *module: str, environment: Mapping[str, str] | None = None
) -> tuple[int | None, str]:
    """Runs a module until it exits; returns its exit status and output."""
    inherited = {
        name: value for name, value in os.environ.items() if name in {"PATH", "HOME", "LANG"}
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-P",
        "-m",
        *module,
        env={**inherited, "PYTHONPATH": _PATHS, **(environment or {})},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        output, _ = await asyncio.wait_for(process.communicate(), 60)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return process.returncode, output.decode()


async def test_a_start_in_working_order_logs_no_warning(shared_stack: RunningStack) -> None:
    """In no process, until the first order."""
    create_order = "/payment.v1.PaymentService/CreateOrder"
    orders = shared_stack.log_entries("payment", event="call", method=create_order)
    end = min((entry["timestamp"] for entry in orders), default="9999")
    warnings = [
        entry
        for name in (*SERVICES, "provider")
        for entry in shared_stack.log_entries(name)
        if entry["timestamp"] < end and entry["level"] not in {"debug", "info"}
    ]
    assert warnings == []


async def test_services_started_before_their_servers_wait_and_then_serve(
    disruptable_stack: RunningStack,
) -> None:
    """They serve once PostgreSQL runs, and use the bus once NATS runs."""
    stack = disruptable_stack.devstack
    for name in (*SERVICES, "nats", "postgres"):
        await stack.kill(name)
    counts = {
        name: len(disruptable_stack.log_entries(name, event="waiting for the database"))
        for name in SERVICES
    }
    async with asyncio.TaskGroup() as group:
        for name in SERVICES:
            group.create_task(stack.start(name))

        async def all_wait() -> bool:
            return all(
                len(disruptable_stack.log_entries(name, event="waiting for the database"))
                > counts[name]
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
async def test_sigterm_stops_a_service_whose_server_never_started(
    disruptable_stack: RunningStack, server: str
) -> None:
    """Exit status 0 on SIGTERM, while the service waits for PostgreSQL or NATS."""
    stack = disruptable_stack.devstack
    await stack.kill("notification")
    await stack.kill(server)
    event = "waiting for the database" if server == "postgres" else "serving"
    count = len(disruptable_stack.log_entries("notification", event=event))
    starting = asyncio.create_task(stack.start("notification"))

    async def is_logged() -> bool:
        return len(disruptable_stack.log_entries("notification", event=event)) > count

    try:
        await wait_until(is_logged, f"notification logs {event!r}", 60)
        assert await stack.terminate("notification") == 0
    finally:
        starting.cancel()
        await asyncio.wait({starting})


async def test_sigterm_lets_a_payment_in_progress_finish(disruptable_stack: RunningStack) -> None:
    """The provider is slow; the call returns its result, and the exit status is 0."""
    journey = disruptable_stack.journey()
    order_id = (await journey.order()).order_id
    call = asyncio.create_task(journey.pay(order_id, "sandbox_slow"))

    async def charged() -> bool:
        return disruptable_stack.charge_count(order_id) == 1

    await wait_until(charged, "the charge")
    assert await disruptable_stack.devstack.terminate("payment") == 0
    assert (await call).status == payment_service_pb2.PAYMENT_STATUS_SUCCEEDED
    assert disruptable_stack.log_entries("payment", event="stopped")
    # Before the exit, the relay has published the event of the call.
    assert await disruptable_stack.message_count(f"payment.v1.PaymentCompleted.{order_id}") == 1
    await disruptable_stack.devstack.start("payment")
    await disruptable_stack.wait_for_effects(order_id, PAID)


@pytest.mark.parametrize("service", SERVICES)
async def test_sigterm_under_load_fails_calls_with_unavailable_only(
    disruptable_stack: RunningStack, service: str
) -> None:
    """Calls return OK or UNAVAILABLE; those that return OK have all their effects."""
    paid: list[str] = []
    done = False

    async def customers() -> None:
        while not done:
            journey = disruptable_stack.journey()
            order_id = (await retry(journey.order, "an order")).order_id
            await retry(lambda: journey.pay(order_id), "a payment")  # noqa: B023
            paid.append(order_id)
            session = await retry(lambda: journey.wait_for_session(order_id), "a session")  # noqa: B023
            assert session.order_id == order_id
            code = (await disruptable_stack.access_code(order_id)).code
            await retry(lambda: journey.start(code), "an interview")  # noqa: B023

    async def restart() -> None:
        nonlocal done
        try:
            await _wait_for_more(paid, 6)
            assert await disruptable_stack.devstack.terminate(service) == 0
            await disruptable_stack.devstack.start(service)
            await _wait_for_more(paid, 6)
        finally:
            done = True

    async with asyncio.TaskGroup() as group:
        for _ in range(4):
            group.create_task(customers())
        group.create_task(restart())
    for order_id in paid:
        await disruptable_stack.wait_for_effects(order_id, STARTED)


async def _wait_for_more(orders: list[str], count: int) -> None:
    goal = len(orders) + count

    async def is_reached() -> bool:
        return len(orders) >= goal

    await wait_until(is_reached, f"{count} more orders", 60)


@pytest.mark.parametrize("service", SERVICES)
async def test_missing_settings_are_listed(shared_stack: RunningStack, service: str) -> None:
    """Exit status 2 and one line per variable that is needed."""
    status, output = await _run_module(f"{service}_svc")
    assert status == 2
    given = service_environment(shared_stack.devstack, service)
    for name in given.keys() - {"PAYMENT_INTERNAL_LISTEN"}:
        assert f"setting {name}: " in output
    assert "Traceback" not in output


@pytest.mark.parametrize("service", SERVICES)
async def test_an_invalid_setting_is_reported_without_any_secret(
    shared_stack: RunningStack, service: str
) -> None:
    """Exit status 2 and one line, for the invalid variable only."""
    invalid = f"{service.upper()}_BUS_BATCH_SIZE"
    environment = service_environment(shared_stack.devstack, service)
    status, output = await _run_module(f"{service}_svc", environment={**environment, invalid: "0"})
    assert status == 2
    assert output.startswith(f"setting {invalid}: ")
    assert len(output.splitlines()) == 1


@pytest.mark.parametrize("service", SERVICES)
async def test_a_taken_port_is_reported(shared_stack: RunningStack, service: str) -> None:
    """Exit status 1 and a message with the address; the process on that port continues."""
    address = shared_stack.devstack.address(service)
    environment = service_environment(shared_stack.devstack, service)
    status, output = await _run_module(f"{service}_svc", environment=environment)
    assert status == 1
    (line,) = [line for line in output.splitlines() if "could not start" in line]
    assert f"cannot listen on {address}" in line
    assert "Traceback" not in output
    assert await health_status(shared_stack, service, "") == "SERVING"


@pytest.mark.parametrize("service", SERVICES)
async def test_a_database_that_is_not_migrated_is_reported(
    shared_stack: RunningStack, service: str
) -> None:
    """Exit status 1 and a message with the reason, after the time limit for the start."""
    environment = dict(service_environment(shared_stack.devstack, service))
    prefix = service.upper()
    url = environment[f"{prefix}_DATABASE_URL"]
    database = f"unmigrated_{service}"
    environment[f"{prefix}_DATABASE_URL"] = f"{url.rpartition('/')[0]}/{database}"
    environment[f"{prefix}_STARTUP_TIMEOUT_SECONDS"] = "0.1"
    await shared_stack.execute(f"CREATE DATABASE {database}")
    status, output = await _run_module(f"{service}_svc", environment=environment)
    await shared_stack.execute(f"DROP DATABASE {database}")
    assert status == 1
    assert "could not start" in output
    assert "alembic_version" in output
    assert "Traceback" not in output


async def test_a_second_devstack_on_the_same_data_directory_is_rejected(
    shared_stack: RunningStack,
) -> None:
    """Exit status 1 and a message with directory and process id; the first one continues."""
    directory = shared_stack.devstack.directory
    for command in ("up", "demo", "clean"):
        status, output = await _run_module("devstack", command, "--data-dir", str(directory))
        assert status == 1
        assert output.startswith(f"devstack: {directory} is in use by another devstack")
        assert str(os.getpid()) in output
    assert shared_stack.devstack.exited() == {}
    journey = shared_stack.journey()
    with pytest.raises(grpc.aio.AioRpcError):
        await journey.start("nonsense")
    await shared_stack.wait_for_effects(await journey.paid_order(), PAID)
