"""Three nodes of NATS: replicas are added under load, and nodes are lost and come back."""

import json
import shutil
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio
from nats.js.api import ConsumerInfo, StreamInfo

from devstack import commands
from devstack.components import COMPONENTS
from devstack.polling import wait_until
from devstack.servers.postgres import SERVICES
from devstack.supervision.processes import Program
from eventbus.broker import BrokerUnavailable
from eventbus.jetstream import connect
from tests.deploy.servers.drivers.nats_cluster import (
    CONFIGURATION,
    NODES,
    NatsCluster,
    nats_cluster,
)
from tests.system.drivers.health import health_status, wait_for_health
from tests.system.drivers.load import check_consistency, under_load
from tests.system.drivers.running_stack import CONSUMERS, RunningStack
from tests.system.drivers.stack_runner import run_to_end, running_parts
from tests.system.drivers.stack_settings import settings

pytestmark = pytest.mark.asyncio(loop_scope="module")

STREAMS = ("PAYMENT", "INTERVIEW", "NOTIFICATION", "ADVISORIES")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def cluster(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[NatsCluster]:
    async with nats_cluster(tmp_path_factory.mktemp("nats") / "cluster") as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stack(
    cluster: NatsCluster, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[RunningStack]:
    """A stack whose services use the cluster, each as its own user; one replica of each stream."""
    directory = tmp_path_factory.mktemp("clustered") / "stack"
    async with clustered_stack(cluster, directory) as running:
        yield running


@asynccontextmanager
async def clustered_stack(
    cluster: NatsCluster, directory: Path, keys: Path | None = None
) -> AsyncIterator[RunningStack]:
    """A stack on the cluster.

    With `keys`, a directory of `new-keys`, the services log in by them.
    """
    base = settings(directory)
    environment = {name: dict(base.environment.get(name, {})) for name in COMPONENTS}
    environment["topology"] = {"NATS_TLS_ROOTS": str(cluster.certificate)}
    for service in SERVICES:
        prefix = f"{service.upper()}_NATS_"
        environment[service][f"{prefix}TLS_ROOTS"] = str(cluster.certificate)
        if keys:
            environment[service][f"{prefix}CREDENTIALS"] = str(keys / f"{service}.nk")
        else:
            environment[service][f"{prefix}USER"] = service
            environment[service][f"{prefix}PASSWORD"] = cluster.passwords[service]
    admin = cluster.login("admin")
    stack_settings = replace(base, environment=environment, nats=admin)
    async with (
        running_parts(directory, stack_settings, COMPONENTS) as devstack,
        devstack.connect() as clients,
    ):
        yield RunningStack(devstack, clients)


async def apply(stack: RunningStack, *, replicas: int) -> tuple[int, str]:
    """Exit status and output of `python -m eventbus apply`."""
    program = commands.topology(stack.devstack)
    return await run_to_end(program, {"NATS_REPLICAS": str(replicas)})


async def stream_infos(stack: RunningStack) -> dict[str, StreamInfo]:
    async with stack.nats() as client:
        return {name: await client.jetstream().stream_info(name) for name in STREAMS}


async def consumer_infos(stack: RunningStack) -> dict[tuple[str, str], ConsumerInfo]:
    async with stack.nats() as client:
        jetstream = client.jetstream()
        return {names: await jetstream.consumer_info(*names) for names in CONSUMERS}


async def leader_of(stack: RunningStack, stream: str) -> str:
    info = (await stream_infos(stack))[stream]
    assert info.cluster
    assert info.cluster.leader
    return info.cluster.leader


async def wait_until_current(stack: RunningStack) -> None:
    """Waits until all nodes have all messages and the state of all consumers."""

    async def check() -> bool:
        infos = [*(await stream_infos(stack)).values(), *(await consumer_infos(stack)).values()]
        return all(
            info.cluster
            and len(info.cluster.replicas or []) == len(NODES) - 1
            and all(peer.current and not peer.lag for peer in info.cluster.replicas or [])
            for info in infos
        )

    await wait_until(check, "all replicas are current", 60)


@pytest.mark.timeout(240)
async def test_replicas_are_added_under_load_and_nodes_are_lost(
    cluster: NatsCluster, stack: RunningStack
) -> None:
    """From one replica to three, without an event lost or handled twice.

    Then the node that leads a stream is killed, and catches up when it comes back.
    """
    before = await consumer_infos(stack)
    async with under_load(stack) as load:
        status, output = await apply(stack, replicas=3)
        assert status == 0, output
        await load.wait_for_journeys(10)
        await wait_until_current(stack)
    for stream in (await stream_infos(stack)).values():
        assert stream.config.num_replicas == 3
    for names, consumer in (await consumer_infos(stack)).items():
        # The same consumer with its position, and not a new one.
        assert consumer.created == before[names].created
    leader = await leader_of(stack, "PAYMENT")
    async with under_load(stack) as load:
        await cluster.kill(leader)
        await load.wait_for_journeys(10)
        cluster.spawn(leader)
        await load.wait_for_journeys(5)
    await wait_until_current(stack)
    await check_consistency(stack)


@pytest.mark.timeout(240)
async def test_without_a_quorum_events_wait(cluster: NatsCluster, stack: RunningStack) -> None:
    """Calls work meanwhile, `bus` tells, and `apply` says why it cannot work."""
    status, output = await apply(stack, replicas=3)
    assert status == 0, output
    lost = NODES[1:]
    retrying = {"payment": "relay retrying", "notification": "consumer retrying"}
    counts = {name: len(stack.log_entries(name, event=text)) for name, text in retrying.items()}
    await cluster.kill(*lost)
    order_id = await stack.journey().paid_order()
    for name, text in retrying.items():
        await stack.wait_for_log_entries(name, counts[name] + 1, event=text)
    for service in SERVICES:
        await wait_for_health(stack, service, "bus", "NOT_SERVING")
        assert await health_status(stack, service, "") == "SERVING"
    status, output = await apply(stack, replicas=3)
    assert status == 1
    assert "fewer than half of its servers" in output
    for name in lost:
        cluster.spawn(name)
    for service in SERVICES:
        await wait_for_health(stack, service, "bus", "SERVING")
    journey = stack.journey()
    await journey.wait_for_session(order_id)
    await wait_until_current(stack)


async def test_a_cluster_with_too_few_nodes_refuses_replicas(stack: RunningStack) -> None:
    status, output = await apply(stack, replicas=5)
    assert status == 1
    assert "stream PAYMENT cannot be applied: the cluster has too few servers" in output


async def test_the_operator_sees_all_servers(cluster: NatsCluster) -> None:
    """What `nats server report jetstream` asks, as the user `system`; services may not."""
    replies: list[dict[str, object]] = []
    client = await connect(cluster.login("system"), "test", seconds=10)
    try:
        inbox = client.new_inbox()
        subscription = await client.subscribe(inbox)
        await client.publish("$SYS.REQ.SERVER.PING.JSZ", b"{}", reply=inbox)
        while len(replies) < len(NODES):
            message = await subscription.next_msg(timeout=10)
            replies.append(json.loads(message.data))
    finally:
        await client.close()
    assert {reply["server"]["name"] for reply in replies} == set(NODES)  # type: ignore[index]


@pytest.mark.timeout(240)
async def test_services_log_in_by_keys(tmp_path: Path) -> None:
    """The servers have their public keys only; their permissions are the same."""
    configuration, keys = tmp_path / "nats", tmp_path / "keys"
    shutil.copytree(CONFIGURATION, configuration)
    status, output = await run_to_end(new_keys(keys), {})
    assert status == 0, output
    for service in SERVICES:
        shutil.copy(keys / f"{service}.conf", configuration / "logins")
    async with (
        nats_cluster(tmp_path / "cluster", configuration) as cluster,
        clustered_stack(cluster, tmp_path / "stack", keys) as stack,
    ):
        status, output = await apply(stack, replicas=3)
        assert status == 0, output
        async with under_load(stack) as load:
            await load.wait_for_journeys(5)
        with pytest.raises(BrokerUnavailable, match="Authorization Violation"):
            await connect(cluster.login("payment"), "test", seconds=5)
        by_key = await connect(cluster.login_by_key(keys / "payment.nk"), "test", seconds=10)
        try:
            with pytest.raises(TimeoutError):
                await by_key.request("interview.v1.InterviewStarted.ord_1", b"", timeout=1)
        finally:
            await by_key.close()


def new_keys(directory: Path) -> Program:
    """The command that creates the keys of the services."""
    command = [sys.executable, "-m", "eventbus", "new-keys", str(directory), *SERVICES]
    return Program(name="new-keys", command=command)
