"""What the chart makes is run: its Jobs in their order, its pods, and a customer's journey."""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml

from clients import Clients, Service, open_channel
from devstack.demo.journey import Journey
from devstack.keys import Keys
from devstack.polling import WaitTimedOut, wait_until
from devstack.supervision.probes import grpc_is_serving
from payment.v1 import access_code_pb2
from runtime.auth.authentication import Role
from tests.deploy.containers.images import Images
from tests.deploy.containers.podman import Podman
from tests.deploy.kubernetes.chart import NAMESPACE, RELEASE, SERVICES, Manifest, of_kind, render
from tests.deploy.kubernetes.empty_servers import (
    DATABASE,
    PASSWORD,
    EmptyServers,
    empty_servers,
    forwarded,
)
from tests.deploy.kubernetes.pods import Network, log_of, playing, run_job

pytestmark = pytest.mark.timeout(900)
_START_SECONDS = 120
# The last number of each pod's address.
_NUMBERS = {"sandbox-provider": 10, "payment": 11, "interview": 12, "notification": 13}
_WEIGHT = "helm.sh/hook-weight"


def _values(image: str, servers: EmptyServers, keys: Keys) -> dict[str, Any]:
    """A trial: all Secrets are made from values."""
    repository, _, tag = image.rpartition(":")

    def url(role: str) -> str:
        password = PASSWORD if role == "postgres" else f"of-{role}"
        return f"postgresql://{role}:{password}@postgres:{servers.ports['postgres']}/{DATABASE}"

    def of(service: str) -> dict[str, str]:
        return {
            f"{service}_database_url": url(f"{service}_runtime"),
            f"{service}_nats_password": PASSWORD,
            f"{service}_auth_signing_key": keys.private(service).read_text("utf-8"),
        }

    owners = {f"{name}_owner_database_url": url(f"{name}_owner") for name in SERVICES}
    provider = {
        "provider_webhook_secret": "of-the-provider",
        "provider_auth_signing_key": keys.private("provider").read_text("utf-8"),
    }
    return {
        "image": {"repository": repository, "tag": tag},
        "nats": {"url": f"nats://nats:{servers.ports['nats']}"},
        "keyRing": {"data": keys.public.read_text("utf-8")},
        "secrets": {
            "payment": {"data": of("payment") | {"payment_provider_secret": "of-the-provider"}},
            "interview": {"data": of("interview")},
            "notification": {"data": of("notification")},
            "migrations": {"data": owners},
            "roles": {"data": {"admin_database_url": url("postgres")}},
            "topology": {"data": {"nats_password": PASSWORD}},
            "sandboxProvider": {"data": provider},
        },
        "notification": {
            "smtp": {"host": "mail", "port": servers.ports["mail"], "tls": "none"},
            "mailFrom": "interviews@mock-interview.example",
        },
        "sandboxProvider": {"enabled": True},
    }


@contextmanager
def _network(podman: Podman) -> Iterator[Network]:
    """A bridge on which this machine has the servers at its own address."""
    name, prefix = f"chart-{secrets.token_hex(4)}", f"10.{secrets.randbelow(100) + 100}.77"
    hosts = dict.fromkeys(("postgres", "nats", "mail"), f"{prefix}.1")
    hosts |= {
        f"{RELEASE}-{service}.{NAMESPACE}.svc": f"{prefix}.{number}"
        for component, number in _NUMBERS.items()
        for service in (component, f"{component}-pods")
    }
    podman.run("network", "create", "--disable-dns", "--subnet", f"{prefix}.0/24", name)
    try:
        yield Network(name, prefix, hosts)
    finally:
        podman.run("network", "rm", "--force", name)


def _run_jobs(
    podman: Podman, manifests: list[Manifest], network: Network, folder: Path
) -> list[str]:
    """Runs the Jobs as Helm would; returns the names of those that ran."""
    values = {
        key: value
        for secret in of_kind(manifests, "Secret")
        for key, value in secret["stringData"].items()
    }
    jobs = sorted(
        of_kind(manifests, "Job"), key=lambda job: int(job["metadata"]["annotations"][_WEIGHT])
    )
    for job in jobs:
        run_job(podman, job, values, network, folder)
    return [job["metadata"]["name"] for job in jobs]


def _connect(network: Network, keys: Keys) -> Clients:
    token = keys.token("shop", Role.STOREFRONT, Role.OPERATOR)
    return Clients(
        {
            service: open_channel(
                f"{network.address(_NUMBERS[service])}:50051", name=service, token=token
            )
            for service in Service
        }
    )


async def _until_ready(podman: Podman, network: Network) -> None:
    """Waits for the answers that Kubernetes' readiness probes wait for."""
    for service in SERVICES:
        is_ready = partial(grpc_is_serving, f"{network.address(_NUMBERS[service])}:50055")
        try:
            await wait_until(is_ready, f"{service} is ready", _START_SECONDS)
        except WaitTimedOut as error:
            error.add_note(log_of(podman, service))
            raise


async def test_the_journey_through_the_pods_of_the_chart(
    podman: Podman, images: Images, tmp_path: Path
) -> None:
    keys = Keys(tmp_path)
    keys.prepare()
    async with empty_servers(tmp_path) as servers:
        values = tmp_path / "values.yaml"
        values.write_text(yaml.safe_dump(_values(images.product, servers, keys)), "utf-8")
        manifests = render(values)
        with _network(podman) as network, forwarded(network.address(1), servers.ports.values()):
            assert len(_run_jobs(podman, manifests, network, tmp_path)) == 5
            addresses = {name: network.address(number) for name, number in _NUMBERS.items()}
            with playing(podman, manifests, addresses, network, tmp_path):
                await _until_ready(podman, network)
                code = await _journey(_connect(network, keys), servers.mail_dir)
    assert code.status == access_code_pb2.ACCESS_CODE_STATUS_REDEEMED


async def _journey(clients: Clients, mail_dir: Path) -> access_code_pb2.AccessCode:
    """A customer's, from the order to the redeemed code."""
    async with clients:
        journey = Journey(clients, mail_dir)
        order_id = await journey.paid_order()
        await journey.wait_for_session(order_id)
        await journey.start(await journey.wait_for_mailed_code())
        return await journey.wait_for_redemption(order_id)
