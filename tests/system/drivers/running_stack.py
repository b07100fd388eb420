"""A running stack as its users and operators see it: calls, streams, SQL, mailbox, logs."""

import json
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from email.message import EmailMessage
from typing import Any, TypeVar

import asyncpg
import grpc
import nats
from nats.aio.client import Client
from nats.js.api import RawStreamMsg

from clients import Clients, open_channel
from devstack.demo.journey import Journey
from devstack.demo.mails import mails_to
from devstack.keys import AUDIENCE
from devstack.polling import WaitTimedOut, wait_until
from devstack.servers.postgres import DATABASE, SERVICES
from devstack.stack import Stack
from payment.v1 import access_code_pb2, payment_service_pb2
from runtime.auth.authentication import Role, TokenSigner

T = TypeVar("T")

CONSUMERS = (
    ("PAYMENT", "interview"),
    ("PAYMENT", "notification"),
    ("INTERVIEW", "payment"),
    ("INTERVIEW", "notification"),
)
OUTBOXES = ("payment", "interview", "notification")
# Signed with it until lately.
OLD_PROVIDER_SECRET = "the provider's old secret"
# What a client repeats, with the same request id.
RETRYABLE = frozenset(
    {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.CANCELLED}
)
_NOT_YET = (OSError, asyncpg.PostgresError, asyncpg.InterfaceError)

_EFFECTS = """
SELECT (SELECT count(*) FROM payment.payments
         WHERE order_id = $1 AND status = 'SUCCEEDED') AS captures,
       (SELECT count(*) FROM payment.access_codes WHERE order_id = $1) AS codes,
       (SELECT count(*) FROM payment.access_codes
         WHERE order_id = $1 AND status = 'REDEEMED') AS redeemed,
       (SELECT count(*) FROM payment.access_code_events
         JOIN payment.access_codes ON id = access_code_id
         WHERE order_id = $1 AND after = 'REDEEMED') AS redemptions,
       (SELECT count(*) FROM interview.sessions WHERE order_id = $1) AS sessions,
       (SELECT count(*) FROM interview.sessions
         WHERE order_id = $1 AND status = 'IN_PROGRESS') AS started,
       (SELECT count(*) FROM notification.notifications WHERE order_id = $1) AS notifications,
       (SELECT count(*) FROM notification.notifications
         WHERE order_id = $1 AND (status = 'SENT' OR suppression_reason = 'CODE_OUTDATED'
                AND EXISTS (SELECT FROM payment.access_codes
                             WHERE order_id = $1 AND status = 'REDEEMED'))) AS sent
"""


@dataclass(frozen=True)
class Effects:
    """How often each thing happened to one order.

    As sent counts a mail that was held back since its code was used before it could be sent.
    """

    captures: int
    codes: int
    redeemed: int
    redemptions: int
    sessions: int
    started: int
    notifications: int
    sent: int


PAID = Effects(1, 1, 0, 0, 1, 0, 1, 1)
STARTED = Effects(1, 1, 1, 1, 1, 1, 1, 1)


# Methods that are for services only, and one that may call each.
SERVICE_CALLERS = {
    "IngestPaymentNotification": "provider",
    "CreateCharge": "payment",
    "GetCharge": "payment",
    "CancelCharge": "payment",
}


def _service_that_calls(method: str) -> str | None:
    """Of a method's path or its bare name; CreateRefund and GetRefund are also people's calls."""
    if "sandbox.v1.ProviderService" in method:
        return "payment"
    return SERVICE_CALLERS.get(method.rpartition("/")[2])


class RunningStack:
    """What can be seen of a stack, and done to it, without being a part of it."""

    def __init__(self, stack: Stack, clients: Clients) -> None:
        self.stack, self.clients = stack, clients

    def journey(self, **settings: str) -> Journey:
        """A new customer."""
        return Journey(self.clients, self.stack.mail_dir, **settings)

    # Callers

    def token(self, method: str = "") -> str:
        """A token of somebody who may call a method; a shop that may also operate, if a person."""
        keys = self.stack.keys
        if (name := _service_that_calls(method)) is None:
            return keys.token("devstack", Role.STOREFRONT, Role.OPERATOR)
        signer = TokenSigner(keys.private(name))
        return signer.issue(name, [*AUDIENCE, "provider"], [Role.SERVICE])

    def channel(self, server: str, method: str = "") -> grpc.aio.Channel:
        """A channel to a server, as somebody who may call a method."""
        address, token = self.stack.address(server), self.token(method)
        return open_channel(address, name=server, token=token, timeout=60.0, retry=False)

    # SQL

    @asynccontextmanager
    async def sql(self, role: str = "") -> "AsyncIterator[asyncpg.Connection[asyncpg.Record]]":
        """A connection as a role, or as the superuser."""
        if role:
            url = self.stack.database_url(role).replace("+asyncpg", "")
            connection = await asyncpg.connect(url, timeout=10)
        else:
            connection = await self.stack.postgres_server.connect(DATABASE)
        try:
            yield connection
        finally:
            await connection.close(timeout=10)

    async def rows(self, query: str, *arguments: object) -> "Sequence[asyncpg.Record]":
        """What the superuser reads."""
        async with self.sql() as connection:
            return await connection.fetch(query, *arguments)

    async def value(self, query: str, *arguments: object) -> Any:
        """One value that the superuser reads."""
        async with self.sql() as connection:
            return await connection.fetchval(query, *arguments)

    async def until_true(self, query: str, *arguments: object) -> None:
        """Waits until a query's one value is true."""

        async def look() -> bool:
            return bool(await self.value(query, *arguments))

        await wait_until(look, f"{query} {arguments}", 60)

    async def row_counts(self) -> Mapping[str, int]:
        """Rows of every table, without what watermarks leave every few seconds."""
        tables = await self.rows(
            "SELECT schemaname, tablename FROM pg_tables"
            " WHERE schemaname IN ('payment', 'interview', 'notification')"
            " AND tablename <> 'pending_watermarks'"
        )
        async with self.sql() as connection:
            return {
                f"{schema}.{table}": await connection.fetchval(
                    f"SELECT count(*) FROM {schema}.{table}"  # noqa: S608  the catalogue's names
                    + (" WHERE key <> ''" if table == "inbox" else "")
                )
                for schema, table in tables
            }

    # Streams

    @asynccontextmanager
    async def nats(self, user: str = "admin") -> AsyncIterator[Client]:
        """A connection as a NATS user."""
        login = self.stack.nats_login(user)
        client = await nats.connect(
            f"nats://{login.host}:{login.port}",
            user=login.user,
            password=login.password,
            inbox_prefix=f"_INBOX_{user}" if user in SERVICES else "_INBOX",
            allow_reconnect=False,
        )
        try:
            yield client
        finally:
            await client.close()

    async def stored_count(self, subject: str) -> int:
        """How many messages of a subject their stream holds."""
        async with self.nats() as client:
            stream = subject.partition(".")[0].upper()
            info = await client.jetstream().stream_info(stream, subjects_filter=subject)
            return sum((info.state.subjects or {}).values())

    async def stored(self, subject: str) -> RawStreamMsg:
        """Waits for a subject's message; the last one."""

        async def look() -> RawStreamMsg | None:
            if not await self.stored_count(subject):
                return None
            async with self.nats() as client:
                stream = subject.partition(".")[0].upper()
                return await client.jetstream().get_last_msg(stream, subject)

        return await wait_until(look, f"a message on {subject}", 60)

    async def wait_until_idle(self) -> None:
        """Waits until nothing is on its way: outboxes empty, every message acknowledged."""
        try:
            await wait_until(self._is_idle, "nothing on its way", 90)
        except WaitTimedOut as error:
            raise WaitTimedOut(f"{error}, but {await self._on_its_way()}") from None

    async def _is_idle(self) -> bool:
        return not await self._on_its_way()

    async def _on_its_way(self) -> str:
        """What is, first things first; "" if nothing."""
        for service in OUTBOXES:
            if waiting := await self.rows(f"SELECT type, key FROM {service}.outbox"):  # noqa: S608
                return f"in {service}'s outbox: {waiting}"
        # Mails to the address that the mailbox defers for ever don't count.
        if due := await self.rows(
            "SELECT notification_id, email, status, attempts, last_error"
            " FROM notification.notifications"
            " WHERE due_at > 'epoch' AND email NOT LIKE '%+defer@%'"
        ):
            return f"mails: {due}"
        async with self.nats() as client:
            for stream, consumer in CONSUMERS:
                info = await client.jetstream().consumer_info(stream, consumer)
                if info.num_pending or info.num_ack_pending:
                    return f"at {consumer} of {stream}: {info.num_pending}, {info.num_ack_pending}"
        return ""

    # What became of an order

    async def effects(self, order_id: str) -> Effects:
        """How often each thing happened to an order so far."""
        (row,) = await self.rows(_EFFECTS, order_id)
        return Effects(**dict(row))

    async def wait_for_effects(self, order_id: str, wanted: Effects) -> None:
        """Waits for an order's effects and, when all is quiet, looks for one too many."""

        async def look() -> bool:
            try:
                return await self.effects(order_id) == wanted
            except _NOT_YET:
                return False

        try:
            await wait_until(look, f"{wanted} for {order_id}", 60)
        except AssertionError as error:
            raise AssertionError(f"{error}, but {await self.effects(order_id)}") from None
        await self.wait_until_idle()
        assert await self.effects(order_id) == wanted

    def charges(self, order_id: str) -> int:
        """How many charges for an order the provider's ledger has."""
        ledger = sqlite3.connect(self.stack.directory / "provider.sqlite", timeout=10)
        try:
            query = "SELECT count(*) FROM charges WHERE order_id = ?"
            return int(ledger.execute(query, (order_id,)).fetchone()[0])
        finally:
            ledger.close()

    def mails(self, journey: Journey) -> list[EmailMessage]:
        """The mails that a customer got."""
        return mails_to(self.stack.mail_dir, journey.email)

    async def code(self, order_id: str) -> access_code_pb2.AccessCode:
        """The order's code, as the superuser finds it."""
        (row,) = await self.rows(
            "SELECT id, code, status FROM payment.access_codes WHERE order_id = $1", order_id
        )
        status = access_code_pb2.AccessCodeStatus.Value(f"ACCESS_CODE_STATUS_{row['status']}")
        return access_code_pb2.AccessCode(id=row["id"], code=row["code"], status=status)

    async def prepared(self) -> tuple[Journey, str, str]:
        """A customer with a paid order, prepared and mailed: journey, order, code."""
        journey = self.journey()
        order_id = await journey.paid_order()
        await journey.prepared(order_id)
        return journey, order_id, (await self.code(order_id)).code

    # Logs

    def log_lines(self, component: str, **wanted: object) -> list[dict[str, Any]]:
        """A component's structured log entries that say what is wanted."""
        found: list[dict[str, Any]] = []
        for line in self.stack.log(component).read_text("utf-8").splitlines():
            try:
                entry = json.loads(line)
            except ValueError:
                continue
            if all(entry.get(name) == value for name, value in wanted.items()):
                found.append(entry)
        return found


async def retry(step: Callable[[], Awaitable[T]], what: str, seconds: float = 90.0) -> T:
    """Repeats a call, as a client does, while the answer is that it may be repeated."""

    async def look() -> T | None:
        try:
            return await step()
        except grpc.aio.AioRpcError as error:
            if error.code() not in RETRYABLE:
                raise
            return None

    return await wait_until(look, what, seconds)


async def paid_for_sure(journey: Journey, order_id: str, method: str = "sandbox_approve") -> None:
    """Pays an order and repeats the same request until it has its outcome."""

    async def step() -> bool:
        payment = await journey.pay(order_id, method)
        return payment.status == payment_service_pb2.PAYMENT_STATUS_SUCCEEDED

    await retry(step, f"{order_id} paid")
