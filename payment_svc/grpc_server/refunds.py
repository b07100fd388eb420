"""payment.v1.PaymentService, its calls about refunds: request → command → reply."""

from datetime import UTC, datetime

from payment.v1 import payment_service_pb2
from payment_svc.domain.idempotency_key import IdempotencyKey
from payment_svc.domain.refunds import Refund
from payment_svc.messages import replies
from payment_svc.storage.unit_of_work import Database
from payment_svc.use_cases.refunds import CreateRefund, create_refund
from payment_svc.workflows.refunds import RefundFollowup, RefundWorkflow
from runtime.auth.authentication import current_caller
from runtime.database.idempotency import IdempotencyStore, RequestIdReused, hash_of
from runtime.protobuf import new_id
from runtime.rpc.errors import InvalidRequest
from runtime.rpc.interceptor import Context
from runtime.rpc.pagination import cut, last_id, size_of


class RefundCalls:
    """The calls about refunds; their contract says what each does."""

    _database: Database
    _replies: IdempotencyStore
    _refunding: RefundWorkflow
    _watch: RefundFollowup

    async def CreateRefund(  # noqa: N802
        self, request: payment_service_pb2.CreateRefundRequest, _context: Context
    ) -> payment_service_pb2.CreateRefundResponse:
        amount = replies.from_money(request.amount) if request.HasField("amount") else None
        if amount and not amount.amount_minor:
            raise InvalidRequest([("amount.amount_minor", "must be more than zero")])
        call = IdempotencyKey(current_caller().scope, request.request_id, hash_of(request))
        command = CreateRefund(new_id("ref"), request.order_id, amount, request.reason, call)
        reply = payment_service_pb2.CreateRefundResponse
        async with self._database.transaction() as uow:

            async def work() -> payment_service_pb2.CreateRefundResponse:
                # Stored replies expire; the refund keeps its own request for good.
                refund = await create_refund(command, uow, now=datetime.now(UTC))
                if refund.call and refund.call.request_hash != call.request_hash:
                    raise RequestIdReused(call.request_id)
                return reply(refund=self._message(refund))

            answer = await self._replies.run_once(uow.connection, call.caller, request, reply, work)
        self._refunding.wake()
        return answer

    async def GetRefund(  # noqa: N802
        self, request: payment_service_pb2.GetRefundRequest, _context: Context
    ) -> payment_service_pb2.GetRefundResponse:
        async with self._database.read_only() as uow:
            refund = await uow.refunds.get(
                request.refund_id, lock=False, only=current_caller().customer
            )
        return payment_service_pb2.GetRefundResponse(refund=self._message(refund))

    async def ListRefunds(  # noqa: N802
        self, request: payment_service_pb2.ListRefundsRequest, _context: Context
    ) -> payment_service_pb2.ListRefundsResponse:
        size, last = size_of(request.page_size), last_id(request.page_token, "ref")
        status = payment_service_pb2.RefundStatus.Name(request.status)
        wanted = status.removeprefix("REFUND_STATUS_") if request.status else ""
        overdue = datetime.now(UTC) - self._watch.overdue_after if request.overdue_only else None
        async with self._database.read_only() as uow:
            refunds = await uow.refunds.page(
                request.order_id, wanted, overdue, last, size + 1, only=current_caller().customer
            )
        page, token = cut(refunds, size, "refund_id")
        return payment_service_pb2.ListRefundsResponse(
            refunds=[self._message(refund) for refund in page], next_page_token=token
        )

    def _message(self, refund: Refund) -> payment_service_pb2.Refund:
        overdue = refund.is_overdue(datetime.now(UTC), self._watch.overdue_after)
        return replies.refund(refund, overdue=overdue)
