"""Stubs exist for the services whose addresses are given."""

from pathlib import Path

import pytest

from clients import AddressUnknown, Service, connect


async def test_a_service_without_an_address_is_named_when_it_is_used() -> None:
    async with connect({Service.PAYMENT: "127.0.0.1:1"}) as clients:
        assert clients.payments
        assert clients.codes
        assert clients.ops["payment"]
        for use in (
            lambda: clients.interviews,
            lambda: clients.ops["interview"],
            lambda: clients.ops[Service.INTERVIEW],
        ):
            with pytest.raises(AddressUnknown, match="interview"):
                use()
        with pytest.raises(AddressUnknown, match="notification"):
            _ = clients.notifications


async def test_unreadable_tls_roots_are_reported_before_the_first_call(tmp_path: Path) -> None:
    with pytest.raises(OSError, match=r"none\.pem"):
        connect({Service.PAYMENT: "127.0.0.1:1"}, tls_roots=tmp_path / "none.pem")


def test_a_service_gives_the_names_of_its_stream_and_subjects() -> None:
    assert Service.PAYMENT.stream == "PAYMENT"
    assert Service.PAYMENT.subject("ord_1") == "payment.v1.*.ord_1"
