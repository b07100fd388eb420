"""The wall around events: with its own credentials, no service gets beyond its own domain."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import nats
import pytest
from nats.aio.client import Client
from nats.aio.msg import Msg

from devstack.commands import PROJECT
from devstack.polling import wait_until
from eventbus.broker import BrokerUnavailable
from eventbus.event import Event
from eventbus.jetstream import JetStream
from eventbus.topology import load
from tests.system.drivers.running_stack import RunningStack

OWN = {"payment": "payment.v1", "interview": "interview.v1", "notification": "notification.v1"}
CONSUMERS = [
    (consumer.stream, consumer.name)
    for consumer in load(PROJECT / "deploy" / "nats" / "topology.toml").consumers
]
FOREIGN_PUBLISHES = [
    (user, f"{domain}.Forged.ord_x")
    for user in (*OWN, "trace")
    for owner, domain in OWN.items()
    if owner != user
]
FOREIGN_CONSUMERS = [
    (user, stream, consumer)
    for user in (*OWN, "trace")
    for stream, consumer in CONSUMERS
    if consumer != user
]
FOREIGN_DOMAINS = [(user, owner) for user in (*OWN, "trace") for owner in OWN if owner != user]
DENIED = r"(?i)permissions violation"
STREAM = {"name": "MINE", "subjects": ["mine.>"]}
ADMINISTRATION = [
    ("$JS.API.STREAM.CREATE.MINE", STREAM),
    ("$JS.API.STREAM.UPDATE.PAYMENT", {"name": "PAYMENT", "subjects": ["payment.v1.>"]}),
    ("$JS.API.STREAM.DELETE.PAYMENT", {}),
    ("$JS.API.STREAM.PURGE.PAYMENT", {}),
    ("$JS.API.STREAM.MSG.DELETE.PAYMENT", {"seq": 1}),
    ("$JS.API.CONSUMER.DELETE.PAYMENT.interview", {}),
    (
        "$JS.API.CONSUMER.CREATE.PAYMENT.mine",
        {"stream_name": "PAYMENT", "config": {"name": "mine"}},
    ),
    ("$JS.API.DIRECT.GET.PAYMENT", {"seq": 1}),
]


Requests = list[tuple[str, object]]
# Asks for a message and never takes one.
NEXT = {"batch": 1, "no_wait": True, "max_bytes": 1}
ONLOOKER = {
    "stream_name": "PAYMENT",
    "config": {
        "name": "onlooker",
        "ack_policy": "explicit",
        "mem_storage": True,
        "inactive_threshold": 60_000_000_000,
    },
}
TRACED: Requests = [
    ("$JS.API.INFO", {}),
    ("$JS.API.STREAM.LIST", {}),
    ("$JS.API.STREAM.NAMES", {}),
    ("$JS.API.STREAM.INFO.PAYMENT", {}),
    ("$JS.API.STREAM.MSG.GET.PAYMENT", {"seq": 1}),
    ("$JS.API.CONSUMER.LIST.PAYMENT", {}),
    ("$JS.API.CONSUMER.NAMES.PAYMENT", {}),
    ("$JS.API.CONSUMER.INFO.PAYMENT.interview", {}),
    ("$JS.API.CONSUMER.CREATE.PAYMENT.onlooker", ONLOOKER),
    ("$JS.API.CONSUMER.MSG.NEXT.PAYMENT.onlooker", NEXT),
    ("$JS.ACK.PAYMENT.onlooker.1.1.1.1.0", "+WPI"),
    ("$JS.API.CONSUMER.DELETE.PAYMENT.nobody", {}),
]


def granted(user: str) -> Requests:
    """Requests that a user may send and that are answered; they change nothing."""
    if user == "trace":
        return TRACED
    own = user.upper()
    requests: Requests = [
        (f"{OWN[user]}.Probed.ord_x", {}),
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
    return f"_INBOX_{user}" if user in OWN else "_INBOX"


def request(subject: str, body: object) -> tuple[bytes, dict[str, str] | None]:
    """Body and headers; a stream refuses such an event, and says so, instead of storing it."""
    data = body.encode() if isinstance(body, str) else json.dumps(body).encode()
    return data, {"Nats-Expected-Last-Sequence": "999999999"} if ".v1." in subject else None


async def send(client: Client, requests: Requests, reply: str) -> None:
    for number, (subject, body) in enumerate(requests):
        data, headers = request(subject, body)
        await client.publish(subject, data, reply=f"{reply}_{number}", headers=headers)


class Intruder:
    """A connection as one user that collects what it is refused."""

    def __init__(self, client: Client, refusals: list[str]) -> None:
        self.client, self.refusals = client, refusals

    async def until_refused(self) -> str:
        async def look() -> str | None:
            return self.refusals[0] if self.refusals else None

        return await wait_until(look, "a refusal")


@asynccontextmanager
async def intruder(outside: RunningStack, user: str) -> AsyncIterator[Intruder]:
    refusals: list[str] = []

    async def refused(error: Exception) -> None:
        refusals.append(str(error).lower())

    login = outside.stack.nats_login(user)
    client = await nats.connect(
        outside.stack.nats_url,
        user=login.user,
        password=login.password,
        inbox_prefix=_inbox(user).encode(),
        error_cb=refused,
    )
    try:
        yield Intruder(client, refusals)
    finally:
        await client.close()


@pytest.mark.parametrize(("user", "subject"), FOREIGN_PUBLISHES)
async def test_a_service_can_not_publish_another_domains_event(
    shared_stack: RunningStack, user: str, subject: str
) -> None:
    async with intruder(shared_stack, user) as one:
        await one.client.publish(subject, b"forged", headers={"Nats-Msg-Id": "forged"})
        assert "permissions violation for publish" in await one.until_refused()


@pytest.mark.parametrize(("user", "stream", "consumer"), FOREIGN_CONSUMERS)
async def test_a_service_can_not_read_through_anothers_consumer(
    shared_stack: RunningStack, user: str, stream: str, consumer: str
) -> None:
    async with intruder(shared_stack, user) as one:
        subject = f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{consumer}"
        await one.client.publish(subject, b"1", reply=f"{_inbox(user)}.stolen")
        assert "permissions violation for publish" in await one.until_refused()


@pytest.mark.parametrize("user", OWN)
@pytest.mark.parametrize(("subject", "request_body"), ADMINISTRATION)
async def test_a_service_can_not_administer(
    shared_stack: RunningStack, user: str, subject: str, request_body: object
) -> None:
    async with intruder(shared_stack, user) as one:
        body = json.dumps(request_body).encode()
        await one.client.publish(subject, body, reply=f"_INBOX_{user}.reply")
        assert "permissions violation for publish" in await one.until_refused()


@pytest.mark.parametrize(("user", "owner"), FOREIGN_DOMAINS)
async def test_no_reply_lands_in_another_domains_stream(
    shared_stack: RunningStack, user: str, owner: str
) -> None:
    """Of every request that a user may send. admin, who may do this, shows that one would."""
    domain, requests = OWN[owner], granted(user)
    async with intruder(shared_stack, user) as one, shared_stack.nats() as admin:
        for subject, body in requests:
            data, headers = request(subject, body)
            await one.client.request(subject, data, timeout=10, headers=headers)
        await send(one.client, requests, f"{domain}.Reached.{user}")
        await one.client.flush()
        assert not one.refusals
        try:
            await send(admin, requests, f"{domain}.Shown.{user}")
            shown = f"{len(requests)} replies to admin in the stream of {owner}"
            await wait_until(
                lambda: _stored_all(shared_stack, f"{domain}.Shown.*", len(requests)), shown
            )
            assert not await shared_stack.stored_count(f"{domain}.Reached.*")
        finally:
            for name in ("Shown", "Reached"):
                subject = f"{domain}.{name}.*"
                await admin.jetstream().purge_stream(owner.upper(), subject=subject)


async def _stored_all(outside: RunningStack, subject: str, count: int) -> bool:
    return await outside.stored_count(subject) == count


@pytest.mark.parametrize("user", [*OWN, "trace"])
async def test_nobody_acknowledges_by_way_of_a_reply(shared_stack: RunningStack, user: str) -> None:
    """The empty reply to a pull would count as an acknowledgement of another's message."""
    async with intruder(shared_stack, user) as one:
        pulls = [pull for pull in granted(user) if ".MSG.NEXT." in pull[0]]
        await send(one.client, pulls, "$JS.ACK.PAYMENT.interview.1.1.1.1.0")
        assert "permissions violation for publish with reply" in await one.until_refused()


async def test_trace_has_no_consumer_deliver_into_another_domains_stream(
    shared_stack: RunningStack,
) -> None:
    """A consumer delivers where somebody listens: trace's own listening doesn't count there."""
    async with shared_stack.nats("trace") as trace, shared_stack.nats() as admin:
        await trace.subscribe("interview.v1.Pushed.ord_x")
        await trace.flush()
        listening = await admin.subscribe("shown.Pushed")
        await admin.flush()
        for name, target in (("pushing", "interview.v1.Pushed.ord_x"), ("shown", "shown.Pushed")):
            config = {"name": name, "deliver_subject": target, "ack_policy": "none"}
            body = json.dumps({"stream_name": "PAYMENT", "config": config}).encode()
            await trace.request(f"$JS.API.CONSUMER.CREATE.PAYMENT.{name}", body)
        try:
            await listening.next_msg(30)
            info = await admin.jetstream().consumer_info("PAYMENT", "pushing")
            assert info.delivered is not None
            assert info.delivered.consumer_seq == 0
        finally:
            for name in ("pushing", "shown"):
                await admin.jetstream().delete_consumer("PAYMENT", name)


async def test_trace_sees_each_domains_events_as_they_are_published(
    shared_stack: RunningStack,
) -> None:
    async with shared_stack.nats("trace") as trace, shared_stack.nats() as admin:
        for user, domain in OWN.items():
            seen: asyncio.Future[Msg] = asyncio.get_running_loop().create_future()
            subject = f"{domain}.Seen.ord_x"
            subscription = await trace.subscribe("*.v1.Seen.*", future=seen)
            await trace.flush()
            async with intruder(shared_stack, user) as one:
                await one.client.jetstream().publish(subject, b"seen")
            assert (await asyncio.wait_for(seen, 10)).subject == subject
            await subscription.unsubscribe()
            await admin.jetstream().purge_stream(user.upper(), subject=subject)


@pytest.mark.parametrize("user", OWN)
@pytest.mark.parametrize(
    "subject",
    [">", "*.v1.>", *(f"{domain}.>" for domain in OWN.values()), "_INBOX.>", "$JS.>"],
)
async def test_a_service_can_not_listen_in(
    shared_stack: RunningStack, user: str, subject: str
) -> None:
    async with intruder(shared_stack, user) as one:
        await one.client.subscribe(subject)
        assert "permissions violation for subscription" in await one.until_refused()


async def test_an_unknown_user_and_a_wrong_password_do_not_get_in(
    shared_stack: RunningStack,
) -> None:
    for user, password in (("payment", "wrong"), ("nobody", "x"), ("", "")):
        client = Client()
        try:
            with pytest.raises((nats.errors.Error, asyncio.TimeoutError)):
                await client.connect(
                    shared_stack.stack.nats_url,
                    user=user,
                    password=password,
                    allow_reconnect=False,
                    connect_timeout=3,
                    error_cb=_silent,
                )
        finally:
            await client.close()


async def _silent(_error: Exception) -> None:
    return


async def test_a_refusal_is_told_as_such_and_not_as_a_time_out(shared_stack: RunningStack) -> None:
    login = shared_stack.stack.nats_login("interview")
    broker = JetStream(shared_stack.stack.nats_url, login.user, login.password, "intruder")
    broker.open()
    try:
        await broker.wait_connected(10)
        forged = Event(
            id="evt_forged",
            type="payment.v1.PaymentCompleted",
            key="ord_x",
            data=b"",
            occurred_at=datetime.now(UTC),
            source="interview",
        )
        with pytest.raises(BrokerUnavailable, match=DENIED):
            await broker.publish(forged)
        with pytest.raises(BrokerUnavailable, match=DENIED):
            await broker.publish_batch([forged, forged])
        with pytest.raises(BrokerUnavailable, match=DENIED):
            await broker.pull_consumer("PAYMENT", "notification").fetch(1, 5)
    finally:
        await broker.close()


async def test_nothing_that_was_tried_reached_a_stream(shared_stack: RunningStack) -> None:
    async with intruder(shared_stack, "admin") as admin:
        jetstream = admin.client.jetstream()
        names = {stream.config.name for stream in await jetstream.streams_info()}
        assert "MINE" not in names
        for stream in (owner.upper() for owner in OWN):
            info = await jetstream.stream_info(stream, subjects_filter=">")
            assert not [name for name in info.state.subjects or {} if ".Forged." in name]
