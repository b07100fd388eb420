"""TLS between payment and its provider is set by settings of its own, on both sides."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from devstack.keys import Keys
from devstack.settings import Settings
from devstack.stack import Stack
from devstack.supervision.probes import grpc_is_serving
from payment_svc.config import PaymentSettings
from payment_svc.domain.payments import ChargeNotFound, OutcomeUnknown
from payment_svc.gateways import SandboxGateway
from runtime.metrics.registry import Metrics
from runtime.rpc.client import open_channel
from sandbox_provider.config import ProviderSettings
from sandbox_provider.grpc_server import ProviderServer, ProviderServicer
from sandbox_provider.ledger import Ledger
from tests.builders.certificates import write_certificate

UNUSED = "pay_01ARZ3NDEKTSV4RRFFQ69G5FAV"


@asynccontextmanager
async def provider(keys: Keys, directory: Path, **tls: Path) -> AsyncIterator[str]:
    """The address of a provider."""
    config = ProviderSettings(
        auth_keys=keys.public,
        auth_signing_key=keys.private("provider"),
        listen="127.0.0.1:0",
        database=directory / "provider.sqlite",
        webhook_target="127.0.0.1:1",
        webhook_secret="secret",
        **tls,
    )
    ledger = Ledger(config.database)
    server = ProviderServer(ProviderServicer(ledger, 0, 0), config)
    try:
        yield f"127.0.0.1:{await server.start()}"
    finally:
        await server.stop(0)
        ledger.close()


async def outcome_of_unused_key(keys: Keys, target: str, **tls: Path) -> Any:
    """What payment learns about a charge that does not exist, with these settings."""
    config = PaymentSettings(
        auth_keys=keys.public,
        auth_signing_key=keys.private("payment"),
        listen="127.0.0.1:0",
        database_url="postgresql+asyncpg://nobody@127.0.0.1:1/nothing",
        nats_url="nats://127.0.0.1:1",
        nats_user="payment",
        nats_password="secret",
        provider_target=target,
        provider_secret="secret",
        **tls,
    )
    async with open_channel(config.auth_signing_key, config.provider()) as channel:
        return await SandboxGateway(channel, config.provider_secrets(), 10, Metrics()).get_charge(
            UNUSED
        )


@pytest.fixture
def keys(tmp_path: Path) -> Keys:
    keys = Keys(tmp_path)
    keys.prepare()
    return keys


async def test_the_provider_serves_tls_and_payment_calls_it_so(keys: Keys, tmp_path: Path) -> None:
    certificate, key, _ = write_certificate(tmp_path)
    async with provider(keys, tmp_path, tls_certificate=certificate, tls_key=key) as target:
        found = await outcome_of_unused_key(keys, target, provider_tls_roots=certificate)
        assert isinstance(found, ChargeNotFound)
        without_tls = await outcome_of_unused_key(keys, target)
        assert isinstance(without_tls, OutcomeUnknown)


async def test_the_roots_for_other_services_do_not_turn_calls_to_the_provider_into_tls_ones(
    keys: Keys, tmp_path: Path
) -> None:
    certificate, _, _ = write_certificate(tmp_path)
    async with provider(keys, tmp_path) as target:
        found = await outcome_of_unused_key(keys, target, tls_roots=certificate)
        assert isinstance(found, ChargeNotFound)


async def test_a_stack_runs_with_a_provider_that_serves_tls(tmp_path: Path) -> None:
    """It becomes ready, and failed handshakes leave no line in its log that is not JSON."""
    certificate, key, _ = write_certificate(tmp_path)
    tls = {"PROVIDER_TLS_CERTIFICATE": str(certificate), "PROVIDER_TLS_KEY": str(key)}
    stack = Stack(tmp_path, replace(Settings.on_free_ports(), environment={"provider": tls}))
    try:
        await stack.start_only(["provider"])
        assert not await grpc_is_serving(stack.address("provider"))
        assert await grpc_is_serving(stack.address("provider"), certificate)
    finally:
        await stack.stop()
    lines = stack.log("provider").read_text("utf-8").splitlines()
    assert "serving" in [json.loads(line)["event"] for line in lines]
