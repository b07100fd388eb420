"""The delay that gRPC's own retry keeps after a refusal: it reads a header, and no RetryInfo.

Without it, the retry policy of a client's service config would repeat a call that was refused for
overload after a tenth of a second, and one of a caller with too many failed attempts as well.
"""

import random
from typing import Any

import grpc
from google.rpc import code_pb2, error_details_pb2, status_pb2
from grpc_status import rpc_status

_HEADER = "grpc-retry-pushback-ms"
# What is refused for longer is reported to the caller at once.
_MAX_SECONDS = 5.0
_DO_NOT_RETRY = "-1"
_SPREAD = 1.5


def to_grpc_status(status: status_pb2.Status) -> grpc.Status:
    """The status to end a call with; a RESOURCE_EXHAUSTED with RetryInfo carries the header.

    The delay is that of RetryInfo, up to half as long again, so that the refused do not come back
    all at once.
    """
    converted: Any = rpc_status.to_status(status)  # a named tuple
    info = error_details_pb2.RetryInfo()
    has_delay = any(detail.Unpack(info) for detail in status.details)
    if status.code == code_pb2.RESOURCE_EXHAUSTED and has_delay:
        header = (_HEADER, _pushback(info.retry_delay.ToTimedelta().total_seconds()))
        converted = converted._replace(trailing_metadata=(*converted.trailing_metadata, header))
    result: grpc.Status = converted
    return result


def _pushback(seconds: float) -> str:
    if seconds > _MAX_SECONDS:
        return _DO_NOT_RETRY
    return str(round(seconds * random.uniform(1, _SPREAD) * 1000))  # noqa: S311  no secret
