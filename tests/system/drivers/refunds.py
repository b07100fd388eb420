"""Refunds as their users see them, and interview's part in them, played by the test."""

import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import grpc
import pytest
from google.protobuf.message import Message
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from ulid import ULID

from clients import reason_of
from devstack.polling import wait_until
from interview.v1 import events_pb2, session_pb2
from payment.v1 import (
    access_code_pb2,
    access_code_service_pb2,
    money_pb2,
    payment_service_pb2,
)
from runtime.protobuf import to_event, to_timestamp
from tests.system.drivers.running_stack import RunningStack

STATUS = payment_service_pb2.RefundStatus.Value


class Desk:
    """Asks for refunds and looks what becomes of them."""

    def __init__(self, outside: RunningStack) -> None:
        self.outside = outside
        self.payments, self.codes = outside.clients.payments, outside.clients.codes

    async def refund(
        self, order_id: str, minor: int | None = None, request_id: str = ""
    ) -> payment_service_pb2.Refund:
        """Asks for a refund of so many fen, or of all that is left."""
        amount = None
        if minor is not None:
            amount = money_pb2.Money(amount_minor=minor, currency_code="CNY")
        request = payment_service_pb2.CreateRefundRequest(
            request_id=request_id or secrets.token_hex(8),
            order_id=order_id,
            amount=amount,
            reason="changed my mind",
        )
        return (await self.payments.CreateRefund(request)).refund

    async def get(self, refund_id: str) -> payment_service_pb2.Refund:
        request = payment_service_pb2.GetRefundRequest(refund_id=refund_id)
        return (await self.payments.GetRefund(request)).refund

    async def becomes(
        self, refund: payment_service_pb2.Refund, status: str, seconds: float = 60
    ) -> payment_service_pb2.Refund:
        """Waits for a refund's status."""

        async def look() -> payment_service_pb2.Refund | None:
            try:
                found = await self.get(refund.refund_id)
            except grpc.aio.AioRpcError as error:
                if error.code() is not grpc.StatusCode.UNAVAILABLE:  # payment is being restarted
                    raise
                return None
            return found if found.status == STATUS(f"REFUND_STATUS_{status}") else None

        return await wait_until(look, f"{refund.refund_id} {status}", seconds)

    async def order(self, order_id: str) -> payment_service_pb2.Order:
        request = payment_service_pb2.GetOrderRequest(order_id=order_id)
        return (await self.payments.GetOrder(request)).order

    async def order_status(self, order_id: str) -> str:
        status = (await self.order(order_id)).status
        return payment_service_pb2.OrderStatus.Name(status).removeprefix("ORDER_STATUS_")

    async def code(self, order_id: str) -> access_code_pb2.AccessCode:
        """The order's current code."""
        request = access_code_service_pb2.GetAccessCodeRequest(order_id=order_id)
        return (await self.codes.GetAccessCode(request)).record

    async def code_status(self, order_id: str) -> str:
        status = (await self.code(order_id)).status
        return access_code_pb2.AccessCodeStatus.Name(status).removeprefix("ACCESS_CODE_STATUS_")

    async def audit(
        self, access_code_id: str, page_size: int = 500, page_token: str = ""
    ) -> access_code_service_pb2.ListAccessCodeEventsResponse:
        request = access_code_service_pb2.ListAccessCodeEventsRequest(
            access_code_id=access_code_id, page_size=page_size, page_token=page_token
        )
        return await self.codes.ListAccessCodeEvents(request)


class PlayedInterview(Desk):
    """The test says what interview would say; interview itself is stopped."""

    async def _say(self, message: Message) -> str:
        """Announces as interview does; the event's id."""
        event = to_event(message, "interview", datetime.now(UTC))
        headers = {"Nats-Msg-Id": event.id, "ce-id": event.id, "ce-type": event.type}
        async with self.outside.nats("interview") as client:
            await client.jetstream().publish(event.subject, event.data, headers=headers)
        return event.id

    async def withholds(self, order_id: str, refund_id: str) -> str:
        """SessionWithheld."""
        now = to_timestamp(datetime.now(UTC))
        return await self._say(
            events_pb2.SessionWithheld(order_id=order_id, refund_id=refund_id, withheld_at=now)
        )

    async def starts(
        self,
        order_id: str,
        refund_id: str = "",
        *,
        code: access_code_pb2.AccessCode | None = None,
        session_id: str = "",
        started_at: datetime | None = None,
    ) -> str:
        """InterviewStarted with a code, the order's current one by default; the event's id."""
        code = code or await self.code(order_id)
        return await self._say(
            events_pb2.InterviewStarted(
                session_id=session_id or f"ses_{ULID()}",
                access_code=code.code,
                order_id=order_id,
                access_code_id=code.id,
                started_at=to_timestamp(started_at or datetime.now(UTC)),
                validated_by=session_pb2.VALIDATION_SOURCE_LOCAL_CACHE,
                refund_id=refund_id,
            )
        )

    async def handled(self, event_id: str) -> None:
        """Waits until payment is done with an event."""
        query = "SELECT count(*) = 1 FROM payment.inbox WHERE event_id = $1"
        await self.outside.until_true(query, event_id)


@asynccontextmanager
async def refused(code: grpc.StatusCode, reason: str, subject: str = "") -> AsyncIterator[None]:
    """A call ends so; a failed precondition names its subject."""
    with pytest.raises(grpc.aio.AioRpcError) as error:
        yield
    assert (error.value.code(), reason_of(error.value)) == (code, reason)
    if code is grpc.StatusCode.FAILED_PRECONDITION:
        status = rpc_status.from_call(error.value)
        failure = error_details_pb2.PreconditionFailure()
        assert status is not None
        assert any(detail.Unpack(failure) for detail in status.details)
        assert [violation.subject for violation in failure.violations] == [subject]
        assert failure.violations[0].type
        assert subject in failure.violations[0].description
