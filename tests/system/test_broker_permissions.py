"""Permissions of the broker: a user's credentials do not reach beyond its own domain."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import nats
import pytest
from nats.aio.client import Client
from nats.aio.msg import Msg

from devstack.commands import PROJECT
from devstack.polling import wait_until
from eventbus.broker import BrokerUnavailable
from eventbus.jetstream import JetStream
from eventbus.topology import load
from tests.system.drivers.running_stack import RunningStack

# The subjects of each service's own events.
DOMAINS = {"payment": "payment.v1", "interview": "interview.v1", "notification": "notification.v1"}
CONSUMERS = [
    (consumer.stream, consumer.name)
    for consumer in load(PROJECT / "deploy" / "nats" / "topology.toml").consumers
]
FOREIGN_CONSUMERS = [
    (user, stream, consumer)
    for user in (*DOMAINS, "trace")
    for stream, consumer in CONSUMERS
    if consumer != user
]
# Users and the services whose domains they must not reach.
FOREIGN_DOMAINS = [
    (user, owner) for user in (*DOMAINS, "trace") for owner in DOMAINS if owner != user
]

DURABLE = {"durable_name": "mine", "ack_policy": "explicit"}
PUSH = {"name": "mine", "deliver_subject": "_INBOX.mine", "ack_policy": "none"}
LEGACY = "$JS.API.CONSUMER.DURABLE.CREATE.PAYMENT.mine"
ADMINISTRATION = [
    ("$JS.API.STREAM.CREATE.MINE", {"name": "MINE", "subjects": ["mine.>"]}),
    ("$JS.API.STREAM.UPDATE.PAYMENT", {"name": "PAYMENT", "subjects": ["payment.v1.>"]}),
    ("$JS.API.STREAM.DELETE.PAYMENT", {}),
    ("$JS.API.STREAM.PURGE.PAYMENT", {}),
    ("$JS.API.STREAM.MSG.DELETE.PAYMENT", {"seq": 1}),
    ("$JS.API.CONSUMER.DELETE.PAYMENT.interview", {}),
    (
        "$JS.API.CONSUMER.CREATE.PAYMENT.mine",
        {"stream_name": "PAYMENT", "config": {"name": "mine"}},
    ),
    (
        "$JS.API.CONSUMER.CREATE.PAYMENT.mine.payment.v1.>",
        {"stream_name": "PAYMENT", "config": {**DURABLE, "filter_subject": "payment.v1.>"}},
    ),
    ("$JS.API.CONSUMER.CREATE.PAYMENT", {"stream_name": "PAYMENT", "config": PUSH}),
    ("$JS.API.CONSUMER.CREATE.PAYMENT.mine", {"stream_name": "PAYMENT", "config": PUSH}),
    (LEGACY, {"stream_name": "PAYMENT", "config": DURABLE}),
]
DIRECT_GET = ("$JS.API.DIRECT.GET.PAYMENT", {"seq": 1})


Requests = list[tuple[str, object]]
# A sequence that no stream of a test reaches.
BEYOND = 999_999_999
# A pull request too small for any message.
NEXT = {"batch": 1, "no_wait": True, "max_bytes": 1}
TRACE_REQUESTS: Requests = [
    ("$JS.API.INFO", {}),
    ("$JS.API.STREAM.LIST", {}),
    ("$JS.API.STREAM.NAMES", {}),
    ("$JS.API.STREAM.INFO.PAYMENT", {}),
    ("$JS.API.STREAM.MSG.GET.PAYMENT", {"seq": 1}),
    ("$JS.API.CONSUMER.LIST.PAYMENT", {}),
    ("$JS.API.CONSUMER.NAMES.PAYMENT", {}),
    ("$JS.API.CONSUMER.INFO.PAYMENT.interview", {}),
    # No such message: the reply to an existing one has its id, and is dropped as a duplicate.
    ("$JS.API.DIRECT.GET.PAYMENT", {"seq": BEYOND}),
    ("$JS.API.DIRECT.GET.PAYMENT", {"seq": BEYOND, "batch": 2}),
    ("$JS.API.DIRECT.GET.PAYMENT.payment.v1.Probed.ord_x", ""),
]


def permitted_requests(user: str) -> Requests:
    """Requests that a user may send and that get a reply; they change nothing."""
    if user == "trace":
        return TRACE_REQUESTS
    own = user.upper()
    requests: Requests = [
        (f"{DOMAINS[user]}.Probed.ord_x", {}),
        (f"$JS.API.STREAM.INFO.{own}", {}),
        (f"$JS.API.STREAM.MSG.GET.{own}", {"seq": 1}),
    ]
    for stream, consumer in CONSUMERS:
        if consumer == user:
            requests += [
                (f"$JS.API.STREAM.INFO.{stream}", {}),
                (f"$JS.API.CONSUMER.INFO.{stream}.{consumer}", {}),
                (f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{consumer}", NEXT),
                (f"$JS.ACK.{stream}.{consumer}.1.1.1.1.0", "+WPI"),
            ]
    return requests


def _inbox(user: str) -> str:
    return f"_INBOX_{user}" if user in DOMAINS else "_INBOX"


def encode(subject: str, body: object) -> tuple[bytes, dict[str, str] | None]:
    """Body and headers of a request; an event's headers make its stream reject it with a reply."""
    data = body.encode() if isinstance(body, str) else json.dumps(body).encode()
    return data, {"Nats-Expected-Last-Sequence": "999999999"} if ".v1." in subject else None


async def send(client: Client, requests: Requests, reply: str) -> None:
    """Sends requests with a numbered reply subject each."""
    for number, (subject, body) in enumerate(requests):
        data, headers = encode(subject, body)
        await client.publish(subject, data, reply=f"{reply}_{number}", headers=headers)


class Connection:
    """A connection as one user, with the errors that the broker has sent to it."""

    def __init__(self, client: Client, errors: list[str]) -> None:
        self.client, self.errors = client, errors

    async def wait_for_error(self) -> str:
        async def first() -> str | None:
            return self.errors[0] if self.errors else None

        return await wait_until(first, "an error of the broker")


@asynccontextmanager
async def connect_as(stack: RunningStack, user: str) -> AsyncIterator[Connection]:
    errors: list[str] = []

    async def add_error(error: Exception) -> None:
        errors.append(str(error).lower())

    login = stack.devstack.nats_login(user)
    client = await nats.connect(
        stack.devstack.nats_url,
        user=login.user,
        password=login.password,
        inbox_prefix=_inbox(user).encode(),
        error_cb=add_error,
    )
    try:
        yield Connection(client, errors)
    finally:
        await client.close()


@pytest.mark.parametrize("domain", DOMAINS.values())
async def test_trace_can_not_publish_a_domains_event(
    shared_stack: RunningStack, domain: str
) -> None:
    async with connect_as(shared_stack, "trace") as connection:
        subject, headers = f"{domain}.Forged.ord_x", {"Nats-Msg-Id": "forged"}
        await connection.client.publish(subject, b"forged", headers=headers)
        assert "permissions violation for publish" in await connection.wait_for_error()


@pytest.mark.parametrize(("user", "stream", "consumer"), FOREIGN_CONSUMERS)
async def test_a_service_can_not_pull_from_anothers_consumer(
    shared_stack: RunningStack, user: str, stream: str, consumer: str
) -> None:
    async with connect_as(shared_stack, user) as connection:
        subject = f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{consumer}"
        await connection.client.publish(subject, b"1", reply=f"{_inbox(user)}.pulled")
        assert "permissions violation for publish" in await connection.wait_for_error()


@pytest.mark.parametrize(
    ("user", "subject", "request_body"),
    [
        *((user, *request) for user in (*DOMAINS, "trace") for request in ADMINISTRATION),
        *((user, *DIRECT_GET) for user in DOMAINS),
    ],
)
async def test_only_the_administrator_changes_streams_and_creates_consumers(
    shared_stack: RunningStack, user: str, subject: str, request_body: object
) -> None:
    """Of either kind, pull or push, durable or not; and services get no raw stored message."""
    async with connect_as(shared_stack, user) as connection:
        body = json.dumps(request_body).encode()
        await connection.client.publish(subject, body, reply=f"{_inbox(user)}.reply")
        assert "permissions violation for publish" in await connection.wait_for_error()


@pytest.mark.parametrize(("user", "owner"), FOREIGN_DOMAINS)
async def test_no_reply_is_stored_in_another_domains_stream(
    shared_stack: RunningStack, user: str, owner: str
) -> None:
    """The reply to any request that a user may send.

    As a control, admin sends the same requests: its replies are stored.
    """
    domain, requests = DOMAINS[owner], permitted_requests(user)
    async with connect_as(shared_stack, user) as connection, shared_stack.nats() as admin:
        for subject, body in requests:
            data, headers = encode(subject, body)
            await connection.client.request(subject, data, timeout=10, headers=headers)
        await send(connection.client, requests, f"{domain}.Reached.{user}")
        await connection.client.flush()
        assert not connection.errors
        try:
            await send(admin, requests, f"{domain}.Control.{user}")

            async def control_is_stored() -> bool:
                return await shared_stack.message_count(f"{domain}.Control.*") == len(requests)

            await wait_until(control_is_stored, f"admin's replies in the stream of {owner}")
            assert not await shared_stack.message_count(f"{domain}.Reached.*")
        finally:
            for name in ("Control", "Reached"):
                subject = f"{domain}.{name}.*"
                await admin.jetstream().purge_stream(owner.upper(), subject=subject)


@pytest.mark.parametrize("user", DOMAINS)
async def test_a_reply_can_not_acknowledge_anothers_message(
    shared_stack: RunningStack, user: str
) -> None:
    """The empty reply to a pull would be an acknowledgement, if its subject were accepted."""
    async with connect_as(shared_stack, user) as connection:
        pulls = [pull for pull in permitted_requests(user) if ".MSG.NEXT." in pull[0]]
        await send(connection.client, pulls, "$JS.ACK.PAYMENT.interview.1.1.1.1.0")
        assert "permissions violation for publish with reply" in await connection.wait_for_error()


async def test_trace_reads_past_events_without_a_consumer(shared_stack: RunningStack) -> None:
    """By batches of direct replies, as `nats sub --stream PAYMENT --direct` does."""
    _, order_id, _ = await shared_stack.prepare_session()
    async with shared_stack.nats("trace") as trace:
        jetstream = trace.jetstream()
        subject = f"payment.v1.PaymentCompleted.{order_id}"
        last = await jetstream.get_last_msg("PAYMENT", subject, direct=True)
        replies = await trace.subscribe("_INBOX.past")
        body = json.dumps({"seq": last.seq, "batch": 1}).encode()
        await trace.publish("$JS.API.DIRECT.GET.PAYMENT", body, reply="_INBOX.past")
        message, end = await replies.next_msg(10), await replies.next_msg(10)
        assert (message.headers or {})["Nats-Subject"] == subject
        assert message.data == last.data
        assert (end.headers or {})["Status"] == "204"
        consumers = {info.name for info in await jetstream.consumers_info("PAYMENT")}
    assert consumers == {name for stream, name in CONSUMERS if stream == "PAYMENT"}


async def test_trace_receives_each_domains_events(
    shared_stack: RunningStack,
) -> None:
    async with shared_stack.nats("trace") as trace, shared_stack.nats() as admin:
        for user, domain in DOMAINS.items():
            received: asyncio.Future[Msg] = asyncio.get_running_loop().create_future()
            subject = f"{domain}.Traced.ord_x"
            subscription = await trace.subscribe("*.v1.Traced.*", future=received)
            await trace.flush()
            async with connect_as(shared_stack, user) as connection:
                await connection.client.jetstream().publish(subject, b"")
            assert (await asyncio.wait_for(received, 10)).subject == subject
            await subscription.unsubscribe()
            await admin.jetstream().purge_stream(user.upper(), subject=subject)


@pytest.mark.parametrize("user", DOMAINS)
@pytest.mark.parametrize(
    "subject",
    [">", "*.v1.>", *(f"{domain}.>" for domain in DOMAINS.values()), "_INBOX.>", "$JS.>"],
)
async def test_a_service_can_not_subscribe_to_events(
    shared_stack: RunningStack, user: str, subject: str
) -> None:
    async with connect_as(shared_stack, user) as connection:
        await connection.client.subscribe(subject)
        assert "permissions violation for subscription" in await connection.wait_for_error()


async def test_an_unknown_user_and_a_wrong_password_can_not_connect(
    shared_stack: RunningStack,
) -> None:
    for user, password in (("payment", "wrong"), ("nobody", "x"), ("", "")):
        client = Client()
        try:
            with pytest.raises((nats.errors.Error, asyncio.TimeoutError)):
                await client.connect(
                    shared_stack.devstack.nats_url,
                    user=user,
                    password=password,
                    allow_reconnect=False,
                    connect_timeout=3,
                    error_cb=_ignore,
                )
        finally:
            await client.close()


async def _ignore(_error: Exception) -> None:
    return


async def test_a_denied_pull_is_reported_as_denied_and_not_as_a_timeout(
    shared_stack: RunningStack,
) -> None:
    """By the services' own client; acceptance/test_28 checks it for publishing."""
    login = shared_stack.devstack.nats_login("interview")
    broker = JetStream(login, "intruder")
    broker.open()
    try:
        await broker.wait_connected(10)
        with pytest.raises(BrokerUnavailable, match=r"(?i)permissions violation"):
            await broker.pull_consumer("PAYMENT", "notification").fetch(1, 5)
    finally:
        await broker.close()


async def test_the_attempts_have_changed_no_stream(shared_stack: RunningStack) -> None:
    """Those of the tests above: no stream was created, no event forged."""
    async with connect_as(shared_stack, "admin") as admin:
        jetstream = admin.client.jetstream()
        names = {stream.config.name for stream in await jetstream.streams_info()}
        assert "MINE" not in names
        for stream in (owner.upper() for owner in DOMAINS):
            info = await jetstream.stream_info(stream, subjects_filter=">")
            assert not [name for name in info.state.subjects or {} if ".Forged." in name]
