"""payment, as interview sees it: whom to ask whether a code is valid. Queries only."""

from dataclasses import dataclass
from typing import Protocol

import grpc

from eventbus.tracing import traceparent_for
from payment.v1 import access_code_pb2, access_code_service_pb2, access_code_service_pb2_grpc

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


class PaymentUnavailable(Exception):
    """payment couldn't be asked."""


@dataclass(frozen=True, slots=True)
class Validation:
    """payment's answer; `record` is None if there is no such code."""

    reason: access_code_service_pb2.ValidationReason.ValueType
    record: access_code_pb2.AccessCode | None

    @property
    def valid(self) -> bool:
        """Whether the code may start an interview."""
        return self.reason == access_code_service_pb2.VALIDATION_REASON_VALID


class AccessCodes(Protocol):
    """Whom to ask about access codes."""

    async def validate(self, code: str, seconds_left: float | None) -> Validation:
        """Whether a code is valid now; raises PaymentUnavailable."""


class PaymentAccessCodes:
    """payment's AccessCodeService."""

    def __init__(self, channel: grpc.aio.Channel, seconds: float) -> None:
        self._service = access_code_service_pb2_grpc.AccessCodeServiceStub(channel)
        self._seconds = seconds

    async def validate(self, code: str, seconds_left: float | None) -> Validation:
        """See `AccessCodes`. Takes what is left of the caller's deadline, if that is less."""
        request = access_code_service_pb2.ValidateAccessCodeRequest(access_code=code)
        timeout = self._seconds if seconds_left is None else min(self._seconds, seconds_left)
        try:
            reply = await self._service.ValidateAccessCode(
                request, timeout=timeout, metadata=(("traceparent", traceparent_for("")),)
            )
        except grpc.aio.AioRpcError as error:
            raise PaymentUnavailable(f"payment answered {error.code().name}") from error
        return Validation(reply.reason, reply.record if reply.HasField("record") else None)
