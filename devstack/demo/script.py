"""`devstack demo`: one journey with real servers, printed as it happens, and a measurement."""

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
_CONCURRENCY = 4
_CONNECT_SECONDS = 10
_FAILURES = (AssertionError, LookupError, grpc.aio.AioRpcError)


class Demo:
    """Runs a journey on a started stack, checks every step, and prints calls and events."""

    def __init__(self, stack: Stack, print_line: Callable[[str], None]) -> None:
        self._stack, self._print_line = stack, print_line
        self._started_at = time.perf_counter()
        self._event_times: dict[str, float] = {}
        self._prints_events = True

    async def run(self) -> bool:
        """True if all steps passed."""
        nats = await connect(self._stack.nats_login("trace"), "demo", _CONNECT_SECONDS)
        try:
            await subscribe(nats, "*.v1.>", self._on_event)
            async with self._stack.connect() as clients:
                await self._run_journey(Journey(clients, self._stack.mail_dir))
                await self._measure(clients)
        except _FAILURES as error:
            self._print("FAILED", _describe(error))
            return False
        finally:
            await nats.close()
        return True

    def _print(self, kind: str, text: str) -> None:
        elapsed = (time.perf_counter() - self._started_at) * 1000
        self._print_line(f"{elapsed:8.0f} ms  {kind:7} {mask(text)}")

    def _on_event(self, message: Any) -> None:
        self._event_times[message.subject] = time.perf_counter()
        event_type, key = split_subject(message.subject)
        if key and self._prints_events:
            self._print("event", f"{message.subject}  {to_json(event_type, message.data)}")

    async def _wait_for_event(self, subject: str) -> float:
        """Returns the time at which the event arrived, of `time.perf_counter`."""

        async def find() -> float | None:
            return self._event_times.get(subject)

        return await wait_until(find, f"an event on {subject}")

    async def _run_journey(self, journey: Journey) -> None:
        order_id = await self._order_and_pay(journey)
        session = await journey.wait_for_session(order_id)
        self._print("state", f"{session.session_id} is prepared for {order_id}")
        code = await journey.wait_for_mailed_code()
        mail = mails_to(self._stack.mail_dir, journey.email)[0]
        self._print("mail", f"to {journey.email}: {mail['subject']}, with the code {code}")
        started = await journey.start(code)
        self._print("call", f"StartSession with the mailed code: {started.session_id} starts")
        self._check("state", "the started session", started.session_id, session.session_id)
        await self._wait_for_event(f"interview.v1.InterviewStarted.{order_id}")
        record = await journey.wait_for_redemption(order_id)
        self._check("state", "redeemed by", record.redeemed_session_id, session.session_id)
        await self._wait_for_event(f"payment.v1.AccessCodeRedeemed.{order_id}")
        await self._check_final_state(journey, order_id)

    async def _order_and_pay(self, journey: Journey) -> str:
        request = payment_service_pb2.ListProductsRequest()
        products = (await journey.clients.payments.ListProducts(request)).products
        self._print("call", f"ListProducts: {len(products)} on sale")
        order = await journey.order()
        self._print("call", f"CreateOrder: {order.order_id}, {order.price.amount_minor} CNY fen")
        declined = await journey.pay(order.order_id, "sandbox_decline")
        self._check("call", "CreatePayment, declined card", _status(declined), "FAILED")
        paid = await journey.pay(order.order_id)
        self._check("call", "CreatePayment, accepted card", _status(paid), "SUCCEEDED")
        await self._wait_for_event(f"payment.v1.PaymentCompleted.{order.order_id}")
        return order.order_id

    async def _check_final_state(self, journey: Journey, order_id: str) -> None:
        request = payment_service_pb2.GetOrderRequest(order_id=order_id)
        order = (await journey.clients.payments.GetOrder(request)).order
        status = payment_service_pb2.OrderStatus.Name(order.status)
        self._check("state", "order", status.removeprefix("ORDER_STATUS_"), "PAID")
        notification = await journey.wait_for_sent_mail(order_id)
        self._print("state", f"notification: SENT after {notification.attempts} attempt(s)")
        self._print("state", "order PAID, code REDEEMED, session IN_PROGRESS, mail SENT")

    def _check(self, kind: str, subject: str, actual: str, expected: str) -> None:
        if actual != expected:
            raise AssertionError(f"{subject}: {actual}, expected {expected}")
        self._print(kind, f"{subject}: {actual}")

    async def _measure(self, clients: Clients) -> None:
        self._print("measure", f"{_MEASURED_JOURNEYS} paid orders, {_CONCURRENCY} concurrently")
        self._prints_events = False
        slots = asyncio.Semaphore(_CONCURRENCY)

        async def measure_one() -> tuple[float, float]:
            async with slots:
                return await self._measure_journey(Journey(clients, self._stack.mail_dir))

        results = await asyncio.gather(*(measure_one() for _ in range(_MEASURED_JOURNEYS)))
        for name, times in zip(
            ("PREPARED", "mail accepted"), zip(*results, strict=True), strict=True
        ):
            percentiles = statistics.quantiles(times, n=100)
            p50, p99 = percentiles[49], percentiles[98]
            self._print("measure", f"pay → {name}: p50 {p50:.0f} ms, p99 {p99:.0f} ms")

    async def _measure_journey(self, journey: Journey) -> tuple[float, float]:
        """Milliseconds from the call that pays to the SessionPrepared event and the sent mail."""
        order_id = (await journey.order()).order_id
        wall_clock, started_at = time.time(), time.perf_counter()
        await journey.pay(order_id)
        prepared_at = await self._wait_for_event(f"interview.v1.SessionPrepared.{order_id}")
        notification = await journey.wait_for_sent_mail(order_id)
        sent_at = notification.sent_at.ToNanoseconds() / 1e9
        return (prepared_at - started_at) * 1000, (sent_at - wall_clock) * 1000


def _status(payment: payment_service_pb2.Payment) -> str:
    name = payment_service_pb2.PaymentStatus.Name(payment.status)
    return name.removeprefix("PAYMENT_STATUS_")


def _describe(error: BaseException) -> str:
    if isinstance(error, grpc.aio.AioRpcError):
        return f"{error.code().name}: {error.details()}"
    return f"{type(error).__name__}: {error}"
