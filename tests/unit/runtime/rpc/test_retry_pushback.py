"""Which refusals tell gRPC's own retry how long to wait, or not to retry."""

from datetime import timedelta
from typing import Any

import pytest
from google.protobuf.duration_pb2 import Duration
from google.rpc import code_pb2, error_details_pb2, status_pb2

from runtime.rpc.retry_pushback import to_grpc_status


def pushback(code: int, seconds: float | None) -> int | None:
    status = status_pb2.Status(code=code, message="refused")
    if seconds is not None:
        delay = Duration()
        delay.FromTimedelta(timedelta(seconds=seconds))
        status.details.add().Pack(error_details_pb2.RetryInfo(retry_delay=delay))
    converted: Any = to_grpc_status(status)
    metadata = dict(converted.trailing_metadata)
    assert status_pb2.Status.FromString(metadata["grpc-status-details-bin"]) == status
    value = metadata.get("grpc-retry-pushback-ms")
    return None if value is None else int(value)


def test_a_refusal_for_overload_carries_the_delay_of_its_retry_info_up_to_half_as_long_again() -> (
    None
):
    found = {pushback(code_pb2.RESOURCE_EXHAUSTED, 1.0) for _ in range(50)}
    assert all(milliseconds and 1000 <= milliseconds <= 1500 for milliseconds in found)
    assert len(found) > 1


def test_a_refusal_for_a_long_time_is_not_retried() -> None:
    """Too many failed attempts: the caller has to wait for a minute."""
    assert pushback(code_pb2.RESOURCE_EXHAUSTED, 60.0) == -1


@pytest.mark.parametrize(
    ("code", "seconds"), [(code_pb2.UNAVAILABLE, 1.0), (code_pb2.RESOURCE_EXHAUSTED, None)]
)
def test_other_errors_leave_the_delay_to_the_client(code: int, seconds: float | None) -> None:
    """Another replica may be available."""
    assert pushback(code, seconds) is None
