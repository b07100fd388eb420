"""Tells payment what became of charges, as a webhook does: signed, repeated until it is accepted.

Like a real provider's, notifications may come more than once: a lost answer repeats one, and every
third is sent again although it was accepted.
"""

import asyncio
import hashlib
import hmac
import json
import random
import time
from collections.abc import Callable

import grpc
import structlog

from payment.v1 import payment_service_pb2, payment_service_pb2_grpc
from sandbox_provider.ledger import Ledger, OwedNotification
from sandbox_provider.transactions import Charge

_log = structlog.get_logger(__name__)
_BATCH = 50
_POLL_SECONDS = 0.2
_ANSWER_SECONDS = 10.0
_FIRST_DELAY, _LONGEST_DELAY = 0.5, 10.0
_SENT_TWICE_EVERY = 3


def compose(charge: Charge, now: float) -> bytes:
    """The body of the notification about a charge: of a captured one, the captured amount."""
    told = {
        "charge_id": charge.charge_id,
        "idempotency_key": charge.idempotency_key,
        "order_id": charge.order_id,
        "amount_minor": charge.captured_minor(now) or charge.amount_minor,
        "currency_code": charge.currency_code,
        "status": charge.status(now),
        "decline_reason": charge.decline_reason,
    }
    return json.dumps({"type": "charge.updated", "charge": told}).encode()


def sign(body: bytes, secret: bytes, now: float) -> dict[str, str]:
    """The headers that prove who sent a body, and when."""
    stamp = str(int(now))
    signature = hmac.new(secret, f"{stamp}.".encode() + body, hashlib.sha256).hexdigest()
    return {"sandbox-signature": f"t={stamp},v1={signature}"}


def delay_after(attempts: int) -> float:
    """Seconds until the next attempt after so many, jittered."""
    full = min(_LONGEST_DELAY, _FIRST_DELAY * 2.0 ** min(attempts, 10))
    return full * random.uniform(0.5, 1.0)  # noqa: S311  spreads load, no secret


class Courier:
    """Delivers the notifications that the ledger owes."""

    def __init__(
        self,
        ledger: Ledger,
        secret: bytes,
        payment: grpc.aio.Channel,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._ledger, self._secret, self._clock = ledger, secret, clock
        stub = payment_service_pb2_grpc.PaymentServiceStub(payment)
        self._ingest = stub.IngestPaymentNotification

    async def run(self) -> None:
        """Delivers until cancelled; outlives outages of payment."""
        while True:
            owed = self._ledger.owed(self._clock(), _BATCH)
            await asyncio.gather(*(self._deliver(one) for one in owed))
            await asyncio.sleep(_POLL_SECONDS)

    async def _deliver(self, owed: OwedNotification) -> None:
        refusal = await self._send(owed.charge)
        if refusal is None and owed.number % _SENT_TWICE_EVERY == 0:
            await self._send(owed.charge)
        due_at = None if refusal is None else self._clock() + delay_after(owed.attempts)
        self._ledger.note_attempt(owed.number, due_at)
        _log.info(
            "notification",
            order_id=owed.charge.order_id,
            payment_id=owed.charge.idempotency_key,
            attempt=owed.attempts + 1,
            refusal=refusal,
        )

    async def _send(self, charge: Charge) -> str | None:
        """None if payment accepted it, else why not."""
        now = self._clock()
        body = compose(charge, now)
        request = payment_service_pb2.IngestPaymentNotificationRequest(
            body=body, headers=sign(body, self._secret, now)
        )
        try:
            await self._ingest(request, timeout=_ANSWER_SECONDS)
        except grpc.aio.AioRpcError as error:
            return f"{error.code().name}: {error.details()}"
        return None
