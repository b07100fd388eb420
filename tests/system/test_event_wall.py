"""The wall around events: with its own credentials, no service gets beyond its own domain."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import nats
import pytest
from nats.aio.client import Client

from devstack.waiting import eventually
from eventbus.broker import BrokerUnavailable
from eventbus.event import Event
from eventbus.jetstream import JetStream
from tests.system.outside import Outside

OWN = {"payment": "payment.v1", "interview": "interview.v1", "notification": "notification.v1"}
CONSUMERS = {"payment": "INTERVIEW", "interview": "PAYMENT", "notification": "PAYMENT"}
FOREIGN_PUBLISHES = [
    (user, f"{domain}.Forged.ord_x")
    for user in OWN
    for owner, domain in OWN.items()
    # notification announces nothing yet, so it may publish nothing at all.
    if owner != user or user == "notification"
]
FOREIGN_CONSUMERS = [
    (user, stream, consumer)
    for user in OWN
    for consumer, stream in CONSUMERS.items()
    if consumer != user
]
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


class Intruder:
    """A connection as one user that collects what it is refused."""

    def __init__(self, client: Client, refusals: list[str]) -> None:
        self.client, self.refusals = client, refusals

    async def until_refused(self) -> str:
        async def look() -> str | None:
            return self.refusals[0] if self.refusals else None

        return await eventually(look, "a refusal")


@asynccontextmanager
async def intruder(outside: Outside, user: str) -> AsyncIterator[Intruder]:
    refusals: list[str] = []

    async def refused(error: Exception) -> None:
        refusals.append(str(error).lower())

    login = outside.stack.nats_login(user)
    client = await nats.connect(
        outside.stack.nats_url,
        user=login.user,
        password=login.password,
        inbox_prefix=f"_INBOX_{user}".encode(),
        error_cb=refused,
    )
    try:
        yield Intruder(client, refusals)
    finally:
        await client.close()


@pytest.mark.parametrize(("user", "subject"), FOREIGN_PUBLISHES)
async def test_a_service_can_not_publish_another_domains_event(
    calm: Outside, user: str, subject: str
) -> None:
    async with intruder(calm, user) as one:
        await one.client.publish(subject, b"forged", headers={"Nats-Msg-Id": "forged"})
        assert "permissions violation for publish" in await one.until_refused()


@pytest.mark.parametrize(("user", "stream", "consumer"), FOREIGN_CONSUMERS)
async def test_a_service_can_not_read_through_anothers_consumer(
    calm: Outside, user: str, stream: str, consumer: str
) -> None:
    async with intruder(calm, user) as one:
        subject = f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{consumer}"
        await one.client.publish(subject, b"1", reply=f"_INBOX_{user}.stolen")
        assert "permissions violation for publish" in await one.until_refused()


@pytest.mark.parametrize("user", OWN)
@pytest.mark.parametrize(("subject", "request_body"), ADMINISTRATION)
async def test_a_service_can_not_administer(
    calm: Outside, user: str, subject: str, request_body: object
) -> None:
    async with intruder(calm, user) as one:
        body = json.dumps(request_body).encode()
        await one.client.publish(subject, body, reply=f"_INBOX_{user}.reply")
        assert "permissions violation for publish" in await one.until_refused()


@pytest.mark.parametrize("user", OWN)
@pytest.mark.parametrize("subject", [">", "payment.v1.>", "interview.v1.>", "_INBOX.>", "$JS.>"])
async def test_a_service_can_not_listen_in(calm: Outside, user: str, subject: str) -> None:
    async with intruder(calm, user) as one:
        await one.client.subscribe(subject)
        assert "permissions violation for subscription" in await one.until_refused()


async def test_an_unknown_user_and_a_wrong_password_do_not_get_in(calm: Outside) -> None:
    for user, password in (("payment", "wrong"), ("nobody", "x"), ("", "")):
        client = Client()
        try:
            with pytest.raises((nats.errors.Error, asyncio.TimeoutError)):
                await client.connect(
                    calm.stack.nats_url,
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


async def test_a_refusal_is_told_as_such_and_not_as_a_time_out(calm: Outside) -> None:
    login = calm.stack.nats_login("interview")
    broker = JetStream(calm.stack.nats_url, login.user, login.password, "intruder")
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
            await broker.source("PAYMENT", "notification").fetch(1, 5)
    finally:
        await broker.close()


async def test_nothing_that_was_tried_reached_a_stream(calm: Outside) -> None:
    async with intruder(calm, "admin") as admin:
        jetstream = admin.client.jetstream()
        names = {stream.config.name for stream in await jetstream.streams_info()}
        assert "MINE" not in names
        for stream in ("PAYMENT", "INTERVIEW"):
            info = await jetstream.stream_info(stream, subjects_filter=">")
            assert not [name for name in info.state.subjects or {} if ".Forged." in name]
