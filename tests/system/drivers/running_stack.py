"""A running stack as its clients and operators see it: calls, SQL, streams, mailbox, logs."""

import asyncio
import json
import sqlite3
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from email.message import EmailMessage
from typing import Any, TypeVar

import asyncpg
import grpc
import nats
from google.protobuf.message import Message
from nats.aio.client import Client
from nats.js.api import RawStreamMsg

from clients import Clients, open_channel
from devstack.demo.journey import Journey
from devstack.demo.mails import mails_to
from devstack.keys import AUDIENCE
from devstack.polling import WaitTimedOut, wait_until
from devstack.servers.postgres import DATABASE, SERVICES
from devstack.stack import Stack
from payment.v1 import access_code_pb2
from runtime.auth.authentication import Role
from runtime.auth.signing import TokenSigner
from tests.system.drivers.effects import EFFECTS_QUERY, Effects

EventType = TypeVar("EventType", bound=Message)

# Streams and their durable consumers.
CONSUMERS = (
    ("PAYMENT", "interview"),
    ("PAYMENT", "notification"),
    ("INTERVIEW", "payment"),
    ("INTERVIEW", "notification"),
)
_DATABASE_UNAVAILABLE = (OSError, asyncpg.PostgresError, asyncpg.InterfaceError)

# Methods that are open to services only, and a service that may call each.
_SERVICE_CALLERS = {
    "IngestPaymentNotification": "provider",
    "CreateCharge": "payment",
    "GetCharge": "payment",
    "CancelCharge": "payment",
}


def _service_caller(method: str) -> str | None:
    """The service that may call a method, given by its path or its bare name.

    CreateRefund and GetRefund by their bare names are payment's own, which people may call.
    """
    if "sandbox.v1.ProviderService" in method:
        return "payment"
    return _SERVICE_CALLERS.get(method.rpartition("/")[2])


def event_id(message: RawStreamMsg) -> str:
    """The id of the event in a stream's message."""
    return (message.headers or {})["ce-id"]


class RunningStack:
    """A stack and all that a test reads from it or does to it without being a part of it.

    `devstack` starts, stops, suspends and kills its processes; `clients` calls its services as a
    storefront that is also an operator.
    """

    def __init__(self, devstack: Stack, clients: Clients) -> None:
        self.devstack, self.clients = devstack, clients
        self._superuser: asyncpg.Connection[asyncpg.Record] | None = None
        self._superuser_lock = asyncio.Lock()

    # Customers and callers

    def journey(self, **settings: str) -> Journey:
        """A new customer's journey."""
        return Journey(self.clients, self.devstack.mail_dir, **settings)

    async def prepare_session(self) -> tuple[Journey, str, str]:
        """Pays an order as a new customer and waits for its session: journey, order id, code."""
        journey = self.journey()
        order_id = await journey.paid_order()
        await journey.wait_for_session(order_id)
        return journey, order_id, (await self.access_code(order_id)).code

    def token_for(self, method: str = "") -> str:
        """A token of a caller that may call a method: a service, or a storefront and operator."""
        keys = self.devstack.keys
        if (name := _service_caller(method)) is None:
            return keys.token("devstack", Role.STOREFRONT, Role.OPERATOR)
        return self.service_token(name)

    def service_token(self, service: str) -> str:
        """A token with a service's own identity, signed with its own key."""
        signer = TokenSigner(self.devstack.keys.private(service))
        return signer.issue(service, [*AUDIENCE, "provider"], [Role.SERVICE])

    def channel(self, server: str, method: str = "") -> grpc.aio.Channel:
        """A channel to a server with a token for a method."""
        address, token = self.devstack.address(server), self.token_for(method)
        return open_channel(address, name=server, token=token, timeout=60.0, retry=False)

    # SQL

    @asynccontextmanager
    async def sql(self, role: str = "") -> "AsyncIterator[asyncpg.Connection[asyncpg.Record]]":
        """A database connection of a role, by default of the superuser."""
        if role:
            url = self.devstack.database_url(role).replace("+asyncpg", "")
            connection = await asyncpg.connect(url, timeout=10)
        else:
            connection = await self.devstack.postgres_server.connect(DATABASE)
        try:
            yield connection
        finally:
            await connection.close(timeout=10)

    async def execute(self, statement: str, *arguments: object) -> None:
        """Executes a statement as the superuser."""
        async with self.sql() as connection:
            await connection.execute(statement, *arguments)

    async def fetch_rows(self, query: str, *arguments: object) -> "Sequence[asyncpg.Record]":
        """The rows that the superuser reads, over a connection that is kept: a log-in is slow."""
        if self._superuser_lock.locked():  # a query that waits delays no other
            async with self.sql() as connection:
                return await connection.fetch(query, *arguments)
        async with self._superuser_lock:
            if self._superuser is None or self._superuser.is_closed():
                self._superuser = await self.devstack.postgres_server.connect(DATABASE)
            return await self._superuser.fetch(query, *arguments, timeout=30)

    async def fetch_value(self, query: str, *arguments: object) -> Any:
        """The single value that the superuser reads; None without a row."""
        return next((row[0] for row in await self.fetch_rows(query, *arguments)), None)

    async def wait_until_true(self, query: str, *arguments: object) -> None:
        """Waits until a query's single value is true."""

        async def is_true() -> bool:
            return bool(await self.fetch_value(query, *arguments))

        await wait_until(is_true, f"{query} {arguments}", 60)

    async def row_counts(self) -> Mapping[str, int]:
        """The number of rows of every table, without those that watermarks add all the time."""
        async with self.sql() as connection:
            tables = await connection.fetch(
                "SELECT schemaname, tablename FROM pg_tables"
                " WHERE schemaname IN ('payment', 'interview', 'notification')"
                " AND tablename <> 'pending_watermarks'"
            )
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
        login = self.devstack.nats_login(user)
        client = await nats.connect(
            **login.connect_options(),
            inbox_prefix=f"_INBOX_{user}" if user in SERVICES else "_INBOX",
            allow_reconnect=False,
        )
        try:
            yield client
        finally:
            await client.close()

    async def message_count(self, subject: str) -> int:
        """How many messages of a subject its stream holds."""
        async with self.nats() as client:
            info = await client.jetstream().stream_info(_stream(subject), subjects_filter=subject)
            return sum((info.state.subjects or {}).values())

    async def wait_for_message(self, subject: str) -> RawStreamMsg:
        """Waits until the stream holds a message of a subject; the latest one."""

        async def latest() -> RawStreamMsg | None:
            if not await self.message_count(subject):
                return None
            async with self.nats() as client:
                return await client.jetstream().get_last_msg(_stream(subject), subject)

        return await wait_until(latest, f"a message on {subject}", 60)

    async def wait_for_event(self, kind: type[EventType], order_id: str) -> EventType:
        """Waits until an event about an order is published; the latest one."""
        message = await self.wait_for_message(f"{kind.DESCRIPTOR.full_name}.{order_id}")
        return kind.FromString(message.data or b"")

    async def wait_for_events(
        self, kind: type[EventType], order_id: str, count: int
    ) -> list[EventType]:
        """Waits until so many events of a kind are published about an order; all of them."""

        async def read() -> list[EventType] | None:
            events = await self.read_events(kind, order_id)
            return events if len(events) >= count else None

        description = f"{count} {kind.DESCRIPTOR.full_name} of {order_id}"
        return await wait_until(read, description, 60)

    async def read_events(self, kind: type[EventType], order_id: str) -> list[EventType]:
        """The published events of a kind about an order, in order."""
        messages = await self.read_messages(f"{kind.DESCRIPTOR.full_name}.{order_id}")
        return [kind.FromString(message.data or b"") for message in messages]

    async def read_messages(self, subject: str) -> list[RawStreamMsg]:
        """The messages of a subject that its stream holds, in order."""
        messages: list[RawStreamMsg] = []
        count = await self.message_count(subject)
        async with self.nats() as client:
            for _ in range(count):
                message = await client.jetstream().get_msg(
                    _stream(subject),
                    (messages[-1].seq or 0) + 1 if messages else 1,
                    subject=subject,
                    next=True,
                )
                messages.append(message)
        return messages

    async def delete_message(self, subject: str) -> RawStreamMsg:
        """Deletes the latest message of a subject from its stream, as if the stream lost it."""
        message = await self.wait_for_message(subject)
        async with self.nats() as client:
            await client.jetstream().delete_msg(_stream(subject), message.seq or 0)
        return message

    async def publish_copy(self, subject: str, **headers: str) -> None:
        """Publishes the latest message of a subject again, with some of its headers changed."""
        message = await self.wait_for_message(subject)
        async with self.nats(subject.partition(".")[0]) as client:
            changed = {**(message.headers or {}), **headers}
            reply = await client.request(subject, message.data or b"", headers=changed, timeout=10)
            assert b"error" not in reply.data

    # Effects

    async def wait_until_idle(self) -> None:
        """Waits until the outboxes are empty, all mails sent and all messages acknowledged."""
        try:
            await wait_until(self._is_idle, "the stack is idle", 90)
        except WaitTimedOut as error:
            raise WaitTimedOut(f"{error}, but {await self._pending_work()}") from None

    async def _is_idle(self) -> bool:
        return not await self._pending_work()

    async def _pending_work(self) -> str:
        """A description of the first pending work found; "" if there is none."""
        for service in SERVICES:
            if unpublished := await self.fetch_rows(f"SELECT type, key FROM {service}.outbox"):  # noqa: S608
                return f"in the outbox of {service}: {unpublished}"
        # The mailbox defers mails to this address for ever.
        if mails := await self.fetch_rows(
            "SELECT notification_id, email, status, attempts, last_error"
            " FROM notification.notifications"
            " WHERE due_at > 'epoch' AND email NOT LIKE '%+defer@%'"
        ):
            return f"mails: {mails}"
        async with self.nats() as client:
            for stream, consumer in CONSUMERS:
                info = await client.jetstream().consumer_info(stream, consumer)
                if info.num_pending or info.num_ack_pending:
                    return f"at {consumer} of {stream}: {info.num_pending}, {info.num_ack_pending}"
        return ""

    async def effects(self, order_id: str) -> Effects:
        """How often each effect of an order has occurred so far."""
        (row,) = await self.fetch_rows(EFFECTS_QUERY, order_id)
        return Effects(**dict(row))

    async def wait_for_effects(self, order_id: str, expected: Effects) -> None:
        """Waits for an order's effects and, once the stack is idle, checks that none is repeated.

        While the database is down it counts as not there yet.
        """

        async def is_expected() -> bool:
            try:
                return await self.effects(order_id) == expected
            except _DATABASE_UNAVAILABLE:
                return False

        try:
            await wait_until(is_expected, f"{expected} for {order_id}", 60)
        except WaitTimedOut as error:
            raise WaitTimedOut(f"{error}, but {await self.effects(order_id)}") from None
        await self.wait_until_idle()
        assert await self.effects(order_id) == expected

    async def access_code(self, order_id: str) -> access_code_pb2.AccessCode:
        """The id, code and status of an order's only code, read from the database."""
        (row,) = await self.fetch_rows(
            "SELECT id, code, status FROM payment.access_codes WHERE order_id = $1", order_id
        )
        status = access_code_pb2.AccessCodeStatus.Value(f"ACCESS_CODE_STATUS_{row['status']}")
        return access_code_pb2.AccessCode(id=row["id"], code=row["code"], status=status)

    def charge_count(self, order_id: str) -> int:
        """How many charges of an order the provider's ledger holds."""
        ledger = sqlite3.connect(self.devstack.directory / "provider.sqlite", timeout=10)
        try:
            query = "SELECT count(*) FROM charges WHERE order_id = ?"
            return int(ledger.execute(query, (order_id,)).fetchone()[0])
        finally:
            ledger.close()

    def mails(self, journey: Journey) -> list[EmailMessage]:
        """The mails that a customer has received."""
        return mails_to(self.devstack.mail_dir, journey.email)

    # Logs

    def log_entries(self, component: str, **fields: object) -> list[dict[str, Any]]:
        """The structured log entries of a component that have these fields."""
        entries: list[dict[str, Any]] = []
        # Logs are long and read often: only lines that contain the values are parsed.
        texts = [json.dumps(value) for value in fields.values() if isinstance(value, str)]
        for line in self.devstack.log(component).read_text("utf-8").splitlines():
            if not all(text in line for text in texts):
                continue
            try:
                entry = json.loads(line)
            except ValueError:
                continue
            if all(entry.get(name) == value for name, value in fields.items()):
                entries.append(entry)
        return entries

    async def wait_for_log_entries(
        self, component: str, count: int = 1, **fields: object
    ) -> list[dict[str, Any]]:
        """Waits until a component has logged so many entries with these fields; all of them."""

        async def read() -> list[dict[str, Any]] | None:
            entries = self.log_entries(component, **fields)
            return entries if len(entries) >= count else None

        return await wait_until(read, f"{count} log entries of {component}: {fields}", 60)


def _stream(subject: str) -> str:
    """The stream that stores a subject."""
    return subject.partition(".")[0].upper()
