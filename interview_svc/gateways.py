"""payment, as interview sees it: whom to ask whether a code is valid. Queries only."""

from dataclasses import dataclass
from typing import Protocol

import grpc

from interview_svc.domain.code_entries import CodeNotFound
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
    """payment's answer about a code that exists."""

    reason: access_code_service_pb2.ValidationReason.ValueType
    record: access_code_pb2.AccessCode

    @property
    def valid(self) -> bool:
        """Whether the code may start an interview."""
        return self.reason == access_code_service_pb2.VALIDATION_REASON_VALID


class AccessCodes(Protocol):
    """Whom to ask about access codes."""

    async def validate(self, code: str) -> Validation:
        """Whether a code is valid now; raises CodeNotFound, PaymentUnavailable."""


class PaymentAccessCodes:
    """payment's AccessCodeService. A call takes no longer than what is left of the caller's."""

    def __init__(self, channel: grpc.aio.Channel, seconds: float) -> None:
        self._service = access_code_service_pb2_grpc.AccessCodeServiceStub(channel)
        self._seconds = seconds

    async def validate(self, code: str) -> Validation:
        """See `AccessCodes`."""
        request = access_code_service_pb2.ValidateAccessCodeRequest(access_code=code)
        try:
            reply = await self._service.ValidateAccessCode(request, timeout=self._seconds)
        except grpc.aio.AioRpcError as error:
            raise PaymentUnavailable(f"payment answered {error.code().name}") from error
        if not reply.HasField("record"):
            raise CodeNotFound
        return Validation(reply.reason, reply.record)
