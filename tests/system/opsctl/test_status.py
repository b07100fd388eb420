"""`opsctl status`: outboxes and consumers of all services, also while some do not answer."""

import asyncio
from pathlib import Path

from clients import Service
from devstack.addresses import PAYMENT_INTERNAL
from devstack.polling import wait_until
from tests.system.drivers.effects import PAID
from tests.system.drivers.opsctl import Result, opsctl, run
from tests.system.drivers.running_stack import RunningStack


async def test_status_shows_the_bus_of_all_services(shared_stack: RunningStack) -> None:
    """Its exit status is 1 if operator action is required."""
    table = await opsctl(shared_stack, "status")
    for service in Service:
        assert service in table.out
    for consumer in ("PAYMENT → interview", "PAYMENT → notification", "INTERVIEW → payment"):
        assert consumer in table.out
    result = await opsctl(shared_stack, "status", "--json")
    assert set(result.json["services"]) == set(Service)
    assert result.json["services"]["payment"]["outbox"]["parked_count"] == "0"
    assert result.json["services"]["payment"]["broker_connected"] is True
    assert result.status == (1 if result.json["needs_operator"] else 0)


async def test_status_shows_mails_money_and_the_fallback(shared_stack: RunningStack) -> None:
    table = await opsctl(shared_stack, "status")
    for what in (
        *("mails queued", "mails deferred", "mails failed"),
        *("payments without outcome", "refunds waiting for interview"),
        *("refunds waiting for the provider", "fallback available"),
    ):
        assert what in table.out
    result = await opsctl(shared_stack, "status", "--json")
    assert result.json["settlement"]["provider_available"] is True
    assert result.json["fallback"]["available"] is True
    assert int(result.json["mails"]["failed_count"]) >= 0


async def test_an_outage_of_the_mail_server_is_reported_with_its_cause(
    disruptable_stack: RunningStack,
) -> None:
    """And ends with the first mail that it accepts."""
    await disruptable_stack.wait_until_idle()
    await disruptable_stack.devstack.kill("mailbox")
    order_id = await disruptable_stack.journey().paid_order()

    async def reported() -> Result | None:
        result = await opsctl(disruptable_stack, "status")
        return result if "the mail server accepts no mail" in result.out else None

    result = await wait_until(reported, "the outage of the mail server")
    assert result.status == 1
    assert "! notification: the mail server accepts no mail: SMTPConnectError" in result.out
    await disruptable_stack.devstack.start("mailbox")
    await disruptable_stack.wait_for_effects(order_id, PAID)
    result = await opsctl(disruptable_stack, "status", "--json")
    assert result.json["mails"]["mail_server_unavailable"] is False


async def test_an_outage_of_the_payment_provider_is_reported_with_its_cause(
    disruptable_stack: RunningStack,
) -> None:
    """The log names it as well, and calls no payment settled before it is."""
    await disruptable_stack.devstack.kill("provider")
    journey = disruptable_stack.journey()
    order_id = (await journey.order()).order_id
    payment_id = (await journey.pay(order_id)).payment_id
    result = await opsctl(disruptable_stack, "status")
    assert result.status == 1
    assert "! payment: the payment provider is unavailable: the provider replied" in result.out
    [entry, *_] = await disruptable_stack.wait_for_log_entries(
        "payment", payment_id=payment_id, event="payment outcome unknown"
    )
    assert entry["level"] == "warning"
    assert "UNAVAILABLE" in entry["cause"]
    assert not disruptable_stack.log_entries(
        "payment", payment_id=payment_id, event="payment settled"
    )
    await disruptable_stack.devstack.start("provider")
    await disruptable_stack.wait_for_effects(order_id, PAID)
    result = await opsctl(disruptable_stack, "status", "--json")
    assert result.json["settlement"]["provider_available"] is True


async def test_a_paused_consumer_is_reported(disruptable_stack: RunningStack) -> None:
    async with disruptable_stack.nats() as client:
        admin = client.jetstream()
        await admin.pause_consumer("PAYMENT", "notification", "2100-01-02T03:04:05Z")
        result = await opsctl(disruptable_stack, "status")
        await admin.resume_consumer("PAYMENT", "notification")
    assert result.status == 1
    assert "PAYMENT → notification (paused)" in result.out
    assert (
        "! notification: consumer notification of PAYMENT: paused until 2100-01-02 03:04:05.000Z"
        in result.out
    )


async def test_status_finds_a_devstack_in_the_current_directory(
    shared_stack: RunningStack, tmp_path: Path
) -> None:
    (tmp_path / ".dev").symlink_to(shared_stack.devstack.directory)
    result = await run("status", "--json", directory=tmp_path)
    assert not any("error" in service for service in result.json["services"].values())


async def test_addresses_and_token_can_come_from_the_environment(
    shared_stack: RunningStack, tmp_path: Path
) -> None:
    environment = {
        f"OPSCTL_{service.name}": shared_stack.devstack.address(service) for service in Service
    }
    environment["OPSCTL_TOKEN_FILE"] = str(shared_stack.devstack.keys.tokens / "operator")
    result = await run("status", "--json", directory=tmp_path, environment=environment)
    assert not any("error" in service for service in result.json["services"].values())


async def test_a_stopped_service_does_not_hide_the_others(disruptable_stack: RunningStack) -> None:
    await disruptable_stack.devstack.kill("interview")
    table = await opsctl(disruptable_stack, "status")
    assert table.status == 1
    assert "INTERVIEW → payment" in table.out
    assert "interview at 127.0.0.1:" in table.out
    assert "is unreachable" in table.out
    result = await opsctl(disruptable_stack, "status", "--json")
    assert result.status == 1
    assert "is unreachable" in result.json["services"]["interview"]["error"]
    assert "outbox" in result.json["services"]["notification"]
    assert any("interview" in problem for problem in result.json["needs_operator"])


async def test_services_that_hang_are_named_after_one_common_timeout(
    disruptable_stack: RunningStack,
) -> None:
    """Two accept the call and never answer; the third one is shown."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    await opsctl(disruptable_stack, "status")
    usual_seconds = loop.time() - began
    hanging = ("payment", "interview")
    for name in hanging:
        disruptable_stack.devstack.suspend(name)
    began = loop.time()
    table = await opsctl(disruptable_stack, "status")
    # One timeout of five seconds instead of two; the rest is the start of the program.
    assert loop.time() - began < usual_seconds + 9
    assert table.status == 1
    for name, port in zip(hanging, (PAYMENT_INTERNAL, "interview"), strict=True):
        address = disruptable_stack.devstack.address(port)
        assert f"! {name} at {address} did not answer within 5 s" in table.out
    assert "INTERVIEW → notification" in table.out


async def test_a_broker_that_hangs_is_reported_by_each_service(
    disruptable_stack: RunningStack,
) -> None:
    """The services answer as long as their own databases do."""
    await disruptable_stack.wait_until_idle()
    disruptable_stack.devstack.suspend("nats")
    result = await opsctl(disruptable_stack, "status", "--json")
    assert result.status == 1
    problems = [line for line in result.json["needs_operator"] if "not connected" in line]
    assert len(problems) == len(Service), result
    for service in result.json["services"].values():
        assert {consumer["last_error"] for consumer in service["consumers"]} == {
            "BrokerTimeout: no reply within 2 s"
        }


async def test_a_stopped_broker_is_reported_by_each_service(
    disruptable_stack: RunningStack,
) -> None:
    await disruptable_stack.devstack.kill("nats")

    async def reported() -> bool:
        result = await opsctl(disruptable_stack, "status", "--json")
        problems = [line for line in result.json["needs_operator"] if "not connected" in line]
        return result.status == 1 and len(problems) == len(Service)

    await wait_until(reported, "three services without a connection to the broker")
