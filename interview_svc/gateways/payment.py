"""payment's AccessCodeService, as interview asks it."""

import grpc
import structlog

from interview_svc.domain.cached_code import CodeNotFound, CodeUpdate, ValidationReason
from interview_svc.gateways.breaker import Breaker, BreakerOpen
from interview_svc.messages import payment_codes
from interview_svc.use_cases.validation import PaymentAway, PaymentFailed, Validation
from payment.v1 import access_code_service_pb2, access_code_service_pb2_grpc
from runtime.rpc.deadlines import DeadlineExceeded, seconds_left

_log = structlog.get_logger(__name__)
_Code = grpc.StatusCode

# Within the call's deadline; hedging does not work in this library, so only these retries.
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
_RECORD_SECONDS = 5.0
_TICK_SECONDS = 0.01


class PaymentAccessCodes:
    """payment's AccessCodeService. A call takes no longer than what is left of the caller's."""

    def __init__(self, channel: grpc.aio.Channel, seconds: float, breaker: Breaker) -> None:
        self._service = access_code_service_pb2_grpc.AccessCodeServiceStub(channel)
        self._seconds, self._breaker = seconds, breaker

    async def validate(self, code: str) -> Validation:
        """Whether a code is valid now, by payment.

        Raises CodeNotFound, PaymentAway, PaymentFailed.
        """
        try:
            return await self._breaker.call(lambda: self._validate(code), PaymentAway)
        except BreakerOpen as error:
            raise PaymentAway(str(error)) from error

    async def _validate(self, code: str) -> Validation:
        request = access_code_service_pb2.ValidateAccessCodeRequest(access_code=code)
        try:
            reply = await self._service.ValidateAccessCode(request, timeout=self._seconds)
        except grpc.aio.AioRpcError as error:
            raise _named(error) from error
        if not reply.HasField("record"):
            raise CodeNotFound
        reason = access_code_service_pb2.ValidationReason.Name(reply.reason)
        return Validation(
            ValidationReason(reason.removeprefix("VALIDATION_REASON_")),
            payment_codes.record(reply.record),
        )

    async def record(self, *, order_id: str = "", access_code_id: str = "") -> CodeUpdate | None:
        """All that payment knows of an order's current code, or of one code; None if it has none.

        Raises PaymentAway, PaymentFailed.
        """
        name = {"order_id": order_id} if order_id else {"access_code_id": access_code_id}
        request = access_code_service_pb2.GetAccessCodeRequest(**name)
        try:
            reply = await self._service.GetAccessCode(request, timeout=_RECORD_SECONDS)
        except grpc.aio.AioRpcError as error:
            if error.code() is _Code.NOT_FOUND:
                return None
            raise _named(error) from error
        return payment_codes.answered(reply)


def _named(error: grpc.aio.AioRpcError) -> Exception:
    """What a failed call says of payment."""
    left = seconds_left()
    if error.code() is _Code.DEADLINE_EXCEEDED and left is not None and left < _TICK_SECONDS:
        return DeadlineExceeded()  # the caller's time ran out, not payment's
    text = f"payment answered {error.code().name}"
    if error.code() in {_Code.UNAVAILABLE, _Code.DEADLINE_EXCEEDED}:
        return PaymentAway(text)
    _log.error("payment fails", status=error.code().name, details=error.details())
    return PaymentFailed(text)
