"""Sends the results of deferred charges to payment as signed webhooks, until they are accepted.

As with a real provider, a webhook can arrive more than once: a lost response repeats it, and every
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
from sandbox_provider.ledger import Ledger, PendingWebhook
from sandbox_provider.transactions import Charge

_log = structlog.get_logger(__name__)
_BATCH_SIZE = 50
_POLL_SECONDS = 0.2
_TIMEOUT_SECONDS = 10.0
_FIRST_DELAY, _MAX_DELAY = 0.5, 10.0
_DUPLICATE_EVERY = 3


def webhook_body(charge: Charge, now: float) -> bytes:
    """The JSON body; the amount is the captured one, or the requested one if not captured."""
    content = {
        "charge_id": charge.charge_id,
        "idempotency_key": charge.idempotency_key,
        "order_id": charge.order_id,
        "amount_minor": charge.captured_minor(now) or charge.amount_minor,
        "currency_code": charge.currency_code,
        "status": charge.status(now),
        "decline_reason": charge.decline_reason,
    }
    return json.dumps({"type": "charge.updated", "charge": content}).encode()


def sign(body: bytes, secret: bytes, now: float) -> dict[str, str]:
    """The headers that prove the sender of a body and the time of sending."""
    timestamp = str(int(now))
    signature = hmac.new(secret, f"{timestamp}.".encode() + body, hashlib.sha256).hexdigest()
    return {"sandbox-signature": f"t={timestamp},v1={signature}"}


def retry_delay(attempts: int) -> float:
    """Seconds until the next attempt: exponential with jitter."""
    delay = min(_MAX_DELAY, _FIRST_DELAY * 2.0 ** min(attempts, 10))
    return delay * random.uniform(0.5, 1.0)  # noqa: S311  spreads load, no secret


class WebhookSender:
    """Sends the due webhooks of a ledger."""

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
        """Sends until cancelled; continues after an outage of payment."""
        while True:
            webhooks = self._ledger.due_webhooks(self._clock(), _BATCH_SIZE)
            await asyncio.gather(*(self._send(webhook) for webhook in webhooks))
            await asyncio.sleep(_POLL_SECONDS)

    async def _send(self, webhook: PendingWebhook) -> None:
        error = await self._post(webhook.charge)
        if error is None and webhook.number % _DUPLICATE_EVERY == 0:
            await self._post(webhook.charge)
        due_at = None if error is None else self._clock() + retry_delay(webhook.attempts)
        self._ledger.record_attempt(webhook.number, due_at)
        _log.info(
            "webhook accepted" if error is None else "webhook rejected",
            order_id=webhook.charge.order_id,
            payment_id=webhook.charge.idempotency_key,
            attempt=webhook.attempts + 1,
            error=error,
        )

    async def _post(self, charge: Charge) -> str | None:
        """None if payment accepted it, else the error."""
        now = self._clock()
        body = webhook_body(charge, now)
        request = payment_service_pb2.IngestPaymentNotificationRequest(
            body=body, headers=sign(body, self._secret, now)
        )
        try:
            await self._ingest(request, timeout=_TIMEOUT_SECONDS)
        except grpc.aio.AioRpcError as error:
            return f"{error.code().name}: {error.details()}"
        return None
