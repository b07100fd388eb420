"""The limit: a bare grpc.aio server that answers ValidateAccessCode with a constant."""

import sys
from datetime import UTC, datetime, timedelta
from typing import Any

import uvloop

from bench.subjects.single_method_server import serve
from payment.v1 import access_code_pb2, access_code_service_pb2
from runtime.protobuf import to_timestamp

_NOW = datetime.now(UTC)
_REPLY = access_code_service_pb2.ValidateAccessCodeResponse(
    valid=True,
    reason=access_code_service_pb2.VALIDATION_REASON_VALID,
    record=access_code_pb2.AccessCode(
        id="acc_00000000000000000000000000",
        code="0000-0000-0000-0000",
        status=access_code_pb2.ACCESS_CODE_STATUS_ACTIVE,
        order_id="ord_00000000000000000000000000",
        product_id="backend-60",
        version=1,
        expire_at=to_timestamp(_NOW + timedelta(days=30)),
        issued_at=to_timestamp(_NOW),
    ),
    as_of=to_timestamp(_NOW),
)


async def echo(_request: Any, _context: Any) -> access_code_service_pb2.ValidateAccessCodeResponse:
    """Answers without any work."""
    return _REPLY


if __name__ == "__main__":
    uvloop.run(serve(sys.argv[1], echo))
