"""An installation by deploy/compose.yaml, in a copy of deploy/ with secrets of its own."""

import asyncio
import email
import email.policy
import os
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import TypeVar

import grpc

from clients import Clients, Service, connect
from devstack.demo.journey import Journey
from devstack.polling import WaitTimedOut, wait_until
from interview.v1 import interview_service_pb2
from ops.v1 import ops_service_pb2
from payment.v1 import access_code_service_pb2, payment_service_pb2
from runtime.auth.authentication import Role
from runtime.auth.signing import TokenSigner
from tests.deploy.containers.images import PROJECT, Images
from tests.deploy.containers.podman import Podman

ADDRESS = "127.0.0.1"
_PORTS = {Service.PAYMENT: 50051, Service.INTERVIEW: 50052, Service.NOTIFICATION: 50053}
_REPLICA_OFFSET = 10
_START_SECONDS, _STEP_SECONDS = 240.0, 120.0
# What clients retry: docs/operations.md.
_RETRYABLE = {
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
    grpc.StatusCode.CANCELLED,
    grpc.StatusCode.DEADLINE_EXCEEDED,
}
T = TypeVar("T")


class Installation:
    """One project of compose."""

    def __init__(self, podman: Podman, images: Images, directory: Path) -> None:
        self.podman = podman
        self._deploy = directory / "deploy"
        shutil.copytree(PROJECT / "deploy", self._deploy, ignore=shutil.ignore_patterns("secrets"))
        self._environment = {
            **podman.environment,
            "IMAGE": images.product,
            "POSTGRES_IMAGE": images.postgres,
            "NATS_IMAGE": images.nats,
            "MAIL_IMAGE": images.mail,
        }
        self.create_secrets()
        self._options: Sequence[str] = ()

    def create_secrets(self) -> None:
        """As `make compose-secrets`."""
        script = PROJECT / "deploy" / "create_secrets.py"
        secrets = self._deploy / "secrets"
        subprocess.run([sys.executable, script, secrets], check=True, cwd=PROJECT)  # noqa: S603

    def up(self, *options: str) -> None:
        """Starts it, and returns when all jobs have succeeded and the services have started."""
        self._options = options
        self._compose("up", "--detach")

    def up_as_cluster(self) -> None:
        """Starts three NATS nodes and two replicas of each service."""
        self.up("--env-file", str(self._deploy / "cluster.env"), "--profile", "cluster")

    def down(self) -> None:
        """Removes containers, networks and volumes."""
        self._compose("down", "--volumes", "--timeout", "0")

    def kill(self, service: str) -> None:
        """Kills a service's container."""
        self.podman.run("kill", "--signal", "KILL", f"mock-interview_{service}_1")

    def start(self, service: str) -> None:
        """Starts a killed container."""
        self.podman.run("start", f"mock-interview_{service}_1")

    def mails_to(self, order_id: str) -> list[str]:
        """The mails that the mail catcher has got about an order, as their senders wrote them."""
        script = (
            "import glob; print(*[open(f).read() for f in glob.glob('/tmp/mail/*')], sep='\\0')"
        )
        output = self.podman.run("exec", "mock-interview_mail_1", "python3", "-c", script)
        return [mail for mail in output.split("\0") if order_id in _text(mail)]

    async def streams_are_complete(self) -> bool:
        """Whether every node of the cluster has what is stored."""
        return await asyncio.to_thread(self._apply_topology)

    def _apply_topology(self) -> bool:
        """The command ends when all replicas are up to date."""
        try:
            self.podman.run("start", "--attach", "mock-interview_topology_1")
        except AssertionError:
            return False
        return True

    def logs(self) -> str:
        """The last lines of every container."""
        names = self.podman.run("ps", "--all", "--format", "{{.Names}}").split()
        return "\n".join(
            f"== {name}\n{self.podman.logs(name)}" for name in names if "mock-interview" in name
        )

    @asynccontextmanager
    async def clients(self, *, replicas: int = 1) -> AsyncIterator[Clients]:
        """Clients of all replicas, as a storefront that may operate, through published ports."""
        signer = TokenSigner(self._deploy / "secrets" / "people_key.json")
        roles = [Role.STOREFRONT, Role.OPERATOR]
        token = signer.issue("tester", list(_PORTS), roles, timedelta(hours=1))
        addresses = {
            service: _target([port + _REPLICA_OFFSET * number for number in range(replicas)])
            for service, port in _PORTS.items()
        }
        async with connect(addresses, token=token) as clients:
            await wait_until(lambda: _answers(clients), "all services answer", _START_SECONDS)
            yield clients

    def _compose(self, *arguments: str) -> None:
        command = ["podman-compose", "--in-pod", "false", "--file", "compose.yaml"]
        ended = subprocess.run(  # noqa: S603  our own arguments
            [Path(sys.executable).with_name(command[0]), *command[1:], *self._options, *arguments],
            cwd=self._deploy,
            env={**self._environment, "PATH": f"{os.environ['PATH']}:/usr/sbin:/sbin"},
            capture_output=True,
            text=True,
            check=False,
        )
        if ended.returncode:
            raise AssertionError(f"{arguments}\n{ended.stderr[-3000:]}\n{self.logs()}")


def _target(ports: Sequence[int]) -> str:
    if len(ports) == 1:
        return f"{ADDRESS}:{ports[0]}"
    return "ipv4:" + ",".join(f"{ADDRESS}:{port}" for port in ports)


def _text(mail: str) -> str:
    message = email.message_from_string(mail, policy=email.policy.default)
    body = message.get_body(("plain",))
    return str(body.get_content()) if body else ""


async def _answers(clients: Clients) -> bool:
    try:
        await clients.payments.ListProducts(payment_service_pb2.ListProductsRequest())
        for service in Service:
            await clients.ops[service].GetBusStatus(ops_service_pb2.GetBusStatusRequest())
    except grpc.aio.AioRpcError:
        return False
    return True


async def whole_journey(clients: Clients) -> str:
    """From the order to the redeemed code; returns the order's id.

    While a service is away, a step is repeated with its `request_id`: docs/operations.md, Clients.
    """
    journey = Journey(clients, Path("/nowhere"))

    async def code() -> str:
        request = access_code_service_pb2.GetAccessCodeRequest(order_id=order_id)
        return (await clients.codes.GetAccessCode(request)).record.code

    order_id = await _until_available(journey.paid_order)
    await _until_available(lambda: journey.wait_for_session(order_id))
    await _until_available(lambda: journey.wait_for_sent_mail(order_id))
    access_code = await _until_available(code)
    await _until_available(lambda: journey.start(access_code))
    await _until_available(lambda: journey.wait_for_redemption(order_id))
    return order_id


async def _until_available(step: Callable[[], Awaitable[T]]) -> T:
    results: list[T] = []

    async def done() -> bool:
        try:
            results.append(await step())
        except grpc.aio.AioRpcError as error:
            if error.code() not in _RETRYABLE:
                raise
        except WaitTimedOut:  # what it waits for takes longer after an outage
            return False
        return bool(results)

    await wait_until(done, "a step of a journey", _STEP_SECONDS)
    return results[0]


async def consistent(clients: Clients) -> None:
    """Asserts that the money balances and that interview and payment agree."""
    checked = await clients.interviews.CheckConsistency(
        interview_service_pb2.CheckConsistencyRequest(), timeout=30
    )
    assert not checked.drifts
    ledger = await clients.payments.CheckLedger(
        payment_service_pb2.CheckLedgerRequest(), timeout=30
    )
    assert not ledger.imbalances


async def journeys(clients: Clients, count: int, at_once: int = 4) -> list[str]:
    """Whole journeys of several customers at once; raises the first failure."""
    places = asyncio.Semaphore(at_once)

    async def one() -> str:
        async with places:
            return await whole_journey(clients)

    return list(await asyncio.gather(*(one() for _ in range(count))))
