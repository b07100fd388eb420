"""deploy/compose.yaml: from nothing to a redeemed code, and what survives a killed container."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from devstack.polling import wait_until
from payment.v1 import payment_service_pb2
from tests.deploy.containers.compose import Installation, consistent, journeys, whole_journey
from tests.deploy.containers.images import Images
from tests.deploy.containers.podman import Podman

_UNDER_LOAD = 24


@pytest.fixture
def installation(podman: Podman, images: Images, tmp_path: Path) -> Iterator[Installation]:
    installation = Installation(podman, images, tmp_path)
    yield installation
    installation.down()


async def test_from_nothing_to_a_redeemed_code_and_a_killed_container_under_load(
    installation: Installation,
) -> None:
    """With one command. A service that is killed under load and started again loses no journey."""
    installation.up()
    async with installation.clients() as clients:
        order_id = await whole_journey(clients)
        [mail] = installation.mails_to(order_id)
        assert "Delivered-To:" in mail
        for service in ("interview", "payment", "notification"):
            load = asyncio.create_task(journeys(clients, _UNDER_LOAD))
            await asyncio.to_thread(installation.kill, service)
            await asyncio.to_thread(installation.start, service)
            assert len(set(await load)) == _UNDER_LOAD
        await consistent(clients)
    # A second start finds everything as it was.
    installation.create_secrets()
    installation.up()
    async with installation.clients() as clients:
        order = await clients.payments.GetOrder(
            payment_service_pb2.GetOrderRequest(order_id=order_id)
        )
        assert order.order.status == payment_service_pb2.ORDER_STATUS_PAID


async def test_a_cluster_loses_a_node_under_load_and_no_journey(installation: Installation) -> None:
    """Each of the three NATS nodes in turn; the streams are on all of them."""
    installation.up_as_cluster()
    async with installation.clients(replicas=2) as clients:
        await whole_journey(clients)
        for node in ("nats", "nats-2", "nats-3"):
            load = asyncio.create_task(journeys(clients, _UNDER_LOAD))
            await asyncio.to_thread(installation.kill, node)
            assert len(set(await load)) == _UNDER_LOAD
            await asyncio.to_thread(installation.start, node)
            await wait_until(installation.streams_are_complete, "all nodes are up to date", 60)
        await consistent(clients)
