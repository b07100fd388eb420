"""payment.v1.PaymentService: refunds."""

from payment.v1 import payment_service_pb2
from payment_svc.domain.idempotency_key import IdempotencyKey
from payment_svc.domain.refunds import Refund
from payment_svc.grpc_server.dependencies import PaymentServicerBase
from payment_svc.messages import replies, requests
from payment_svc.storage.unit_of_work import UnitOfWork
from payment_svc.use_cases.refunds import CreateRefund, create_refund
from runtime.auth.authentication import current_caller
from runtime.clock import utc_now
from runtime.database.idempotency import RequestIdReused, hash_of
from runtime.ids import new_id
from runtime.rpc.call_layer import Context
from runtime.rpc.errors import InvalidRequest
from runtime.rpc.pagination import Page
from runtime.violations import Violation

_NO_AMOUNT = Violation("amount.amount_minor", "must be more than 0", "必须大于 0")


class RefundServicer(PaymentServicerBase):
    """Refund methods of payment.v1.PaymentService."""

    async def CreateRefund(  # noqa: N802
        self, request: payment_service_pb2.CreateRefundRequest, _context: Context
    ) -> payment_service_pb2.CreateRefundResponse:
        amount = requests.from_money(request.amount) if request.HasField("amount") else None
        if amount and not amount.amount_minor:
            raise InvalidRequest([_NO_AMOUNT])
        key = IdempotencyKey(current_caller().scope, request.request_id, hash_of(request))
        command = CreateRefund(new_id("ref"), request.order_id, amount, request.reason, key)

        async def create(uow: UnitOfWork) -> payment_service_pb2.CreateRefundResponse:
            # Stored replies are deleted after some time; the refund keeps its idempotency key.
            refund = await create_refund(command, uow, clock=utc_now)
            stored = refund.idempotency_key
            if stored and stored.request_hash != key.request_hash:
                raise RequestIdReused(key.request_id)
            return payment_service_pb2.CreateRefundResponse(refund=self._message(refund))

        reply = await self.run_once(request, payment_service_pb2.CreateRefundResponse, create)
        self._dependencies.wake_refunds()
        return reply

    async def GetRefund(  # noqa: N802
        self, request: payment_service_pb2.GetRefundRequest, _context: Context
    ) -> payment_service_pb2.GetRefundResponse:
        async with self._database.read_only() as uow:
            refund = await uow.refunds.get(
                request.refund_id, lock=False, customer_id=current_caller().customer
            )
        return payment_service_pb2.GetRefundResponse(refund=self._message(refund))

    async def ListRefunds(  # noqa: N802
        self, request: payment_service_pb2.ListRefundsRequest, _context: Context
    ) -> payment_service_pb2.ListRefundsResponse:
        page = Page.of(request, "ref")
        status = payment_service_pb2.RefundStatus.Name(request.status)
        status = status.removeprefix("REFUND_STATUS_") if request.status else ""
        created_before = (
            utc_now() - self._dependencies.refund_overdue_after if request.overdue_only else None
        )
        async with self._database.read_only() as uow:
            refunds = await uow.refunds.page(
                request.order_id,
                status,
                created_before,
                page.after,
                page.limit,
                customer_id=current_caller().customer,
            )
        refunds, token = page.split(refunds, "refund_id")
        return payment_service_pb2.ListRefundsResponse(
            refunds=[self._message(refund) for refund in refunds], next_page_token=token
        )

    def _message(self, refund: Refund) -> payment_service_pb2.Refund:
        overdue = refund.is_overdue(utc_now(), self._dependencies.refund_overdue_after)
        return replies.refund(refund, overdue=overdue)
