"""The client of payment's AccessCodeService, and which of its errors are an outage of payment."""

import grpc
import structlog

from interview_svc.domain.cached_code import CodeUpdate, ValidationReason
from interview_svc.domain.errors import CodeNotFound
from interview_svc.gateways.circuit_breaker import CircuitBreaker, CircuitOpen
from interview_svc.messages import payment_codes
from interview_svc.use_cases.code_validation import (
    PaymentIdentityRefused,
    PaymentQueryFailed,
    PaymentUnreachable,
    Validation,
)
from payment.v1 import access_code_service_pb2, access_code_service_pb2_grpc
from runtime.metrics.registry import Metrics
from runtime.rpc.deadlines import DeadlineExceeded, seconds_left

_log = structlog.get_logger(__name__)
_Code = grpc.StatusCode

# Retries within the call's deadline. grpcio does not implement the hedging policy.
SERVICE_CONFIG = """{
  "loadBalancingConfig": [{"round_robin": {}}],
  "methodConfig": [{
    "name": [{"service": "payment.v1.AccessCodeService"}],
    "retryPolicy": {
      "maxAttempts": 4,
      "initialBackoff": "0.02s",
      "maxBackoff": "0.1s",
      "backoffMultiplier": 2,
      "retryableStatusCodes": ["UNAVAILABLE"]
    }
  }]
}"""
# With these statuses payment cannot answer anybody, or not now: CANCELLED is gRPC's own answer to
# calls beyond the queue of a server that is overloaded. Every other error is the answer of
# a payment that is reachable: to accept codes in spite of it could accept what payment refuses.
_OUTAGE = frozenset(
    {_Code.UNAVAILABLE, _Code.DEADLINE_EXCEEDED, _Code.RESOURCE_EXHAUSTED, _Code.CANCELLED}
)
# These are about interview's own token or policy, never about the code: keys or clocks are wrong.
_IDENTITY_REFUSED = frozenset({_Code.UNAUTHENTICATED, _Code.PERMISSION_DENIED})
_QUERY_TIMEOUT_SECONDS = 5.0
_CLOCK_TOLERANCE_SECONDS = 0.01


class PaymentAccessCodes:
    """payment's AccessCodeService. No call outlasts the deadline of interview's own caller."""

    def __init__(
        self,
        channel: grpc.aio.Channel,
        validation_timeout_seconds: float,
        breaker: CircuitBreaker,
        metrics: Metrics,
    ) -> None:
        self._service = access_code_service_pb2_grpc.AccessCodeServiceStub(channel)
        self._validation_timeout, self._breaker = validation_timeout_seconds, breaker
        self._identity_refused = metrics.gauge(
            "payment_identity_refused", "1 while payment refuses the identity of interview, else 0."
        )
        metrics.gauge_of(
            "payment_circuit_open",
            "1 while interview asks payment only by probes, else 0.",
            lambda: float(breaker.is_open),
        )

    async def validate(self, code: str) -> Validation:
        """Validates a code now; raises CodeNotFound, PaymentUnreachable, PaymentQueryFailed."""
        try:
            return await self._breaker.call(lambda: self._validate(code), PaymentUnreachable)
        except CircuitOpen as error:
            raise PaymentUnreachable(str(error)) from error

    async def _validate(self, code: str) -> Validation:
        request = access_code_service_pb2.ValidateAccessCodeRequest(access_code=code)
        try:
            reply = await self._service.ValidateAccessCode(
                request, timeout=self._validation_timeout
            )
        except grpc.aio.AioRpcError as error:
            raise self._domain_error(error) from error
        self._identity_refused.set(0)
        if not reply.HasField("record"):
            raise CodeNotFound
        reason = access_code_service_pb2.ValidationReason.Name(reply.reason)
        return Validation(
            ValidationReason(reason.removeprefix("VALIDATION_REASON_")),
            payment_codes.record(reply.record),
        )

    async def get_update(
        self, *, order_id: str = "", access_code_id: str = ""
    ) -> CodeUpdate | None:
        """Queries the record of an order's current code, or of one code; None if there is none.

        Raises PaymentUnreachable, PaymentQueryFailed.
        """
        key = {"order_id": order_id} if order_id else {"access_code_id": access_code_id}
        request = access_code_service_pb2.GetAccessCodeRequest(**key)
        try:
            reply = await self._service.GetAccessCode(request, timeout=_QUERY_TIMEOUT_SECONDS)
        except grpc.aio.AioRpcError as error:
            if error.code() is _Code.NOT_FOUND:
                self._identity_refused.set(0)
                return None
            raise self._domain_error(error) from error
        self._identity_refused.set(0)
        return payment_codes.from_reply(reply)

    def _domain_error(self, error: grpc.aio.AioRpcError) -> Exception:
        """The end of our caller's deadline, an outage of payment, or another error of it."""
        code, left = error.code(), seconds_left()
        if code is _Code.DEADLINE_EXCEEDED and left is not None and left < _CLOCK_TOLERANCE_SECONDS:
            return DeadlineExceeded()
        text = f"payment answered {code.name}"
        if code in _IDENTITY_REFUSED:
            self._identity_refused.set(1)
            _log.error("payment refuses our identity", status=code.name, details=error.details())
            return PaymentIdentityRefused(text)
        if code in _OUTAGE:
            return PaymentUnreachable(text)
        _log.error("payment query failed", status=code.name, details=error.details())
        return PaymentQueryFailed(text)
