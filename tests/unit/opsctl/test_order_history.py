"""An order's history names the parts that could not be read."""

from clients import Service, connect
from opsctl.order_history import read_order_history

ORDER_ID = f"ord_{'0' * 26}"


async def test_each_part_of_an_unreachable_service_is_an_error() -> None:
    addresses = dict.fromkeys(Service, "127.0.0.1:1")
    async with connect(addresses, retry=False) as clients:
        history = await read_order_history(clients, ORDER_ID, None, reveal=False)
    assert not history.entries
    assert {error.partition(":")[0] for error in history.errors} == {
        *("order", "payments", "refunds", "access codes"),
        *("sessions", "notifications", "events"),
    }


async def test_without_an_address_of_nats_the_events_are_reported_as_missing() -> None:
    async with connect({}) as clients:
        history = await read_order_history(clients, ORDER_ID, None, reveal=False)
    assert history.errors[-1] == "events: the address of NATS is unknown: give --nats URL"


async def test_a_service_without_an_address_is_one_error() -> None:
    async with connect({}) as clients:
        history = await read_order_history(clients, ORDER_ID, None, reveal=False)
    assert sorted(history.errors[:-1]) == [
        f"{service}: the address of {service} is unknown: give --{service} HOST:PORT"
        for service in sorted(Service)
    ]
