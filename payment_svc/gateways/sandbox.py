"""The gateway to the sandbox provider, over gRPC."""

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

import grpc
from google.protobuf.message import Message

from payment_svc.domain.money import Money
from payment_svc.domain.payments import (
    Accepted,
    Cancelled,
    Captured,
    ChargeNotFound,
    Declined,
    Outcome,
    OutcomeUnknown,
    Payment,
)
from payment_svc.domain.refunds import (
    Refund,
    RefundOutcome,
    RefundOutcomeUnknown,
    RefundProcessing,
    RefundRefused,
    RefundSucceeded,
)
from payment_svc.gateways import webhooks
from payment_svc.gateways.port import WebhookPayload
from runtime.metrics.registry import Metrics
from sandbox.v1 import provider_service_pb2, provider_service_pb2_grpc

_BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_METHODS = frozenset(
    {
        "sandbox_approve",
        "sandbox_decline",
        "sandbox_slow",
        "sandbox_late",
        "sandbox_lost",
        "sandbox_short",
        "sandbox_stubborn",
        "sandbox_no_refund",
        "sandbox_slow_refund",
    }
)


class SandboxGateway:
    """A `PaymentGateway`. Each of the `secrets` is valid for signatures of notifications."""

    def __init__(
        self,
        channel: grpc.aio.Channel,
        secrets: Sequence[str],
        timeout_seconds: float,
        metrics: Metrics,
    ) -> None:
        self._provider = provider_service_pb2_grpc.ProviderServiceStub(channel)
        # With an empty secret anybody could sign.
        self._secrets = [secret.encode() for secret in secrets if secret]
        self._timeout = timeout_seconds
        self.current_error = ""
        self._seconds = metrics.histogram(
            "payment_provider_request_duration_seconds",
            "How long requests to the payment provider took, by their status code.",
            _BUCKETS,
            "method",
            "code",
        )
        metrics.gauge_of(
            "payment_provider_failing",
            "1 while the payment provider did not reply to the last request, else 0.",
            lambda: float(bool(self.current_error)),
        )

    def supports(self, payment_method: str) -> bool:
        return payment_method in _METHODS

    async def create_charge(self, payment: Payment) -> Outcome:
        request = provider_service_pb2.CreateChargeRequest(
            idempotency_key=payment.payment_id,
            order_id=payment.order_id,
            amount_minor=payment.amount.amount_minor,
            currency_code=payment.amount.currency_code,
            payment_method=payment.payment_method,
        )
        try:
            reply = await self._call("CreateCharge", request)
        except grpc.aio.AioRpcError as error:
            return OutcomeUnknown(_describe(error))
        return _outcome(reply.charge)

    async def get_charge(self, payment_id: str) -> Outcome | ChargeNotFound:
        request = provider_service_pb2.GetChargeRequest(idempotency_key=payment_id)
        try:
            reply = await self._call("GetCharge", request)
        except grpc.aio.AioRpcError as error:
            if error.code() is grpc.StatusCode.NOT_FOUND:
                return ChargeNotFound()
            return OutcomeUnknown(_describe(error))
        return _outcome(reply.charge)

    async def cancel_charge(self, payment_id: str) -> Outcome:
        request = provider_service_pb2.CancelChargeRequest(idempotency_key=payment_id)
        try:
            reply = await self._call("CancelCharge", request)
        except grpc.aio.AioRpcError as error:
            return OutcomeUnknown(_describe(error))
        return _outcome(reply.charge)

    async def create_refund(self, refund: Refund) -> RefundOutcome:
        request = provider_service_pb2.CreateRefundRequest(
            idempotency_key=refund.refund_id,
            charge_key=refund.payment_id,
            amount_minor=refund.amount.amount_minor,
        )
        try:
            reply = await self._call("CreateRefund", request)
        except grpc.aio.AioRpcError as error:
            if error.code() is grpc.StatusCode.NOT_FOUND:
                return RefundRefused("CHARGE_NOT_FOUND")
            return RefundOutcomeUnknown(_describe(error))
        return _refund_outcome(reply.refund)

    async def _call(self, name: str, request: Message) -> Any:
        """Calls a method of the provider; raises its error and remembers it."""
        method: Callable[..., Awaitable[Any]] = getattr(self._provider, name)
        started, code = time.perf_counter(), "CANCELLED"
        try:
            reply = await method(request, timeout=self._timeout)
            code = "OK"
        except grpc.aio.AioRpcError as error:
            code = error.code().name
            replied = error.code() is grpc.StatusCode.NOT_FOUND
            self.current_error = "" if replied else _describe(error)
            raise
        finally:
            self._seconds.labels(name, code).observe(time.perf_counter() - started)
        self.current_error = ""
        return reply

    def parse_webhook(
        self, body: bytes, headers: Mapping[str, str], now: datetime
    ) -> WebhookPayload:
        webhooks.check_signature(body, headers, self._secrets, now)
        return webhooks.parse(body)


def _outcome(charge: provider_service_pb2.Charge) -> Outcome:
    match charge.status:
        case provider_service_pb2.CHARGE_STATUS_CAPTURED:
            return Captured(Money(charge.captured_minor, charge.currency_code))
        case provider_service_pb2.CHARGE_STATUS_DECLINED:
            return Declined(charge.decline_reason)
        case provider_service_pb2.CHARGE_STATUS_CANCELLED:
            return Cancelled()
        case provider_service_pb2.CHARGE_STATUS_PROCESSING:
            return Accepted()
        case _:
            return OutcomeUnknown(f"the provider reported charge status {charge.status}")


def _refund_outcome(refund: provider_service_pb2.Refund) -> RefundOutcome:
    match refund.status:
        case provider_service_pb2.REFUND_STATUS_SUCCEEDED:
            return RefundSucceeded()
        case provider_service_pb2.REFUND_STATUS_REFUSED:
            return RefundRefused(refund.refusal_reason)
        case provider_service_pb2.REFUND_STATUS_PROCESSING:
            return RefundProcessing()
        case _:
            return RefundOutcomeUnknown(f"the provider reported refund status {refund.status}")


def _describe(error: grpc.aio.AioRpcError) -> str:
    return f"the provider replied {error.code().name}: {error.details()}"
