"""`devstack demo`: the whole journey on real parts, each step shown as it happens."""

import asyncio
import statistics
import time
from collections.abc import Callable
from typing import Any

import grpc

from clients import Clients
from devstack.demo.journey import Journey
from devstack.demo.mails import mails_to
from devstack.polling import wait_until
from devstack.stack import Stack
from eventbus.event import split_subject
from eventbus.jetstream import connect, subscribe
from payment.v1 import payment_service_pb2
from runtime.ops.event_json import to_json
from runtime.redaction import mask

_MEASURED_JOURNEYS = 200
_AT_ONCE = 4
_FAILURES = (AssertionError, LookupError, grpc.aio.AioRpcError)


class Demo:
    """Runs the journey on a started stack and tells about it."""

    def __init__(self, stack: Stack, tell: Callable[[str], None]) -> None:
        self._stack, self._tell = stack, tell
        self._began = time.perf_counter()
        self._seen: dict[str, float] = {}
        self._quiet = False

    async def run(self) -> bool:
        """True if every step held."""
        login = self._stack.nats_login("trace")
        url = f"nats://{login.host}:{login.port}"
        watcher = await connect(url, login.user, login.password, "demo", 10)
        try:
            await subscribe(watcher, "*.v1.>", self._see)
            async with self._stack.connect() as clients:
                await self._journey(Journey(clients, self._stack.mail_dir))
                await self._measure(clients)
        except _FAILURES as error:
            self._say("FAILED", _brief(error))
            return False
        finally:
            await watcher.close()
        return True

    def _say(self, kind: str, text: str) -> None:
        passed = (time.perf_counter() - self._began) * 1000
        self._tell(f"{passed:8.0f} ms  {kind:7} {mask(text)}")

    def _see(self, message: Any) -> None:
        self._seen[message.subject] = time.perf_counter()
        event_type, key = split_subject(message.subject)
        if key and not self._quiet:
            self._say("event", f"{message.subject}  {to_json(event_type, message.data)}")

    async def _event(self, subject: str) -> float:
        async def look() -> float | None:
            return self._seen.get(subject)

        return await wait_until(look, f"an event on {subject}")

    async def _journey(self, journey: Journey) -> None:
        products = await journey.clients.payments.ListProducts(
            payment_service_pb2.ListProductsRequest()
        )
        self._say("call", f"ListProducts: {len(products.products)} on sale")
        order = await journey.order()
        self._say("call", f"CreateOrder: {order.order_id}, {order.price.amount_minor} CNY fen")
        declined = await journey.pay(order.order_id, "sandbox_decline")
        self._expect("CreatePayment, a card that declines", _status(declined), "FAILED")
        paid = await journey.pay(order.order_id)
        self._expect("CreatePayment, a card that works", _status(paid), "SUCCEEDED")
        await self._event(f"payment.v1.PaymentCompleted.{order.order_id}")
        session = await journey.prepared(order.order_id)
        self._say("state", f"{session.session_id} is prepared for {order.order_id}")
        code = await journey.code_from_mail()
        mail = mails_to(self._stack.mail_dir, journey.email)[0]
        self._say("mail", f"to {journey.email}: {mail['subject']}, with the code {code}")
        started = await journey.start(code)
        self._say("call", f"StartSession with the mailed code: {started.session_id} begins")
        self._expect("the started session", started.session_id, session.session_id)
        await self._event(f"interview.v1.InterviewStarted.{order.order_id}")
        record = await journey.redeemed(order.order_id)
        self._expect("redeemed by", record.redeemed_session_id, session.session_id)
        await self._event(f"payment.v1.AccessCodeRedeemed.{order.order_id}")
        await self._end(journey, order.order_id)

    async def _end(self, journey: Journey, order_id: str) -> None:
        request = payment_service_pb2.GetOrderRequest(order_id=order_id)
        order = (await journey.clients.payments.GetOrder(request)).order
        self._expect("order", order.status, payment_service_pb2.ORDER_STATUS_PAID, "PAID")
        sent = await journey.sent(order_id)
        self._say("state", f"notification: SENT after {sent.attempts} attempt(s)")
        self._say("state", "order PAID, code REDEEMED, session IN_PROGRESS, mail SENT")

    def _expect(self, what: str, found: object, wanted: object, shown: str = "") -> None:
        if found != wanted:
            raise AssertionError(f"{what}: {found}, expected {wanted}")
        self._say("call" if what.startswith("Create") else "state", f"{what}: {shown or found}")

    async def _measure(self, clients: Clients) -> None:
        self._say("measure", f"{_MEASURED_JOURNEYS} orders paid, {_AT_ONCE} at a time")
        self._quiet = True
        turns = asyncio.Semaphore(_AT_ONCE)

        async def one() -> tuple[float, float]:
            async with turns:
                return await self._timed(Journey(clients, self._stack.mail_dir))

        took = await asyncio.gather(*(one() for _ in range(_MEASURED_JOURNEYS)))
        for place, name in enumerate(("PREPARED", "mail accepted")):
            cuts = statistics.quantiles([times[place] for times in took], n=100)
            self._say("measure", f"pay → {name}: p50 {cuts[49]:.0f} ms, p99 {cuts[98]:.0f} ms")

    async def _timed(self, journey: Journey) -> tuple[float, float]:
        """Milliseconds from the call that pays to the announced session and the accepted mail."""
        order_id = (await journey.order()).order_id
        wall, began = time.time(), time.perf_counter()
        await journey.pay(order_id)
        prepared = await self._event(f"interview.v1.SessionPrepared.{order_id}")
        sent = await journey.sent(order_id)
        accepted = sent.sent_at.ToNanoseconds() / 1e9
        return (prepared - began) * 1000, (accepted - wall) * 1000


def _status(payment: payment_service_pb2.Payment) -> str:
    name = payment_service_pb2.PaymentStatus.Name(payment.status)
    return name.removeprefix("PAYMENT_STATUS_")


def _brief(error: BaseException) -> str:
    if isinstance(error, grpc.aio.AioRpcError):
        return f"{error.code().name}: {error.details()}"
    return f"{type(error).__name__}: {error}"
