"""Calls to several services, and what is printed about one that failed."""

import asyncio

from clients import AddressUnknown, Service
from opsctl.calls import call_each
from opsctl.errors import describe


async def test_services_are_called_concurrently() -> None:
    """Each call returns only after all of them have begun."""
    called: set[Service] = set()
    all_called = asyncio.Event()

    async def call(service: Service) -> str:
        called.add(service)
        if called == set(Service):
            all_called.set()
        await asyncio.wait_for(all_called.wait(), 10)
        return f"reply of {service}"

    outcomes = await call_each(Service, call)
    assert outcomes == {service: f"reply of {service}" for service in Service}


async def test_an_error_is_the_outcome_of_its_own_service_only() -> None:
    async def call(service: Service) -> str:
        if service is Service.INTERVIEW:
            raise AddressUnknown(service)
        return "reply"

    outcomes = await call_each(Service, call)
    error = outcomes.pop(Service.INTERVIEW)
    assert isinstance(error, AddressUnknown)
    assert outcomes == {Service.PAYMENT: "reply", Service.NOTIFICATION: "reply"}


def test_an_unknown_address_is_described_with_the_option_that_gives_it() -> None:
    text = describe(AddressUnknown(Service.INTERVIEW))
    assert text == "the address of interview is unknown: give --interview HOST:PORT"
