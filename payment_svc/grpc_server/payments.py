"""payment.v1.PaymentService: payments; the other nouns are in files of their own."""

from payment.v1 import (
    payment_service_pb2,
    payment_service_pb2_grpc,
)
from payment_svc.grpc_server.ledger import LedgerServicer
from payment_svc.grpc_server.orders import OrderServicer
from payment_svc.grpc_server.payment_notifications import PaymentNotificationServicer
from payment_svc.grpc_server.products import ProductServicer
from payment_svc.grpc_server.refunds import RefundServicer
from payment_svc.grpc_server.settlement import SettlementServicer
from payment_svc.messages import replies, requests
from payment_svc.use_cases.payments import CreatePayment
from runtime.auth.authentication import current_caller
from runtime.database.idempotency import hash_of
from runtime.ids import new_id
from runtime.rpc.call_layer import Context
from runtime.rpc.pagination import Page


class PaymentServicer(
    ProductServicer,
    OrderServicer,
    RefundServicer,
    PaymentNotificationServicer,
    LedgerServicer,
    SettlementServicer,
    payment_service_pb2_grpc.PaymentServiceServicer,
):
    """payment.v1.PaymentService; its contract describes each method."""

    async def CreatePayment(  # noqa: N802
        self, request: payment_service_pb2.CreatePaymentRequest, _context: Context
    ) -> payment_service_pb2.CreatePaymentResponse:
        amount = requests.from_money(request.amount) if request.HasField("amount") else None
        command = CreatePayment(
            payment_id=new_id("pay"),
            order_id=request.order_id,
            amount=amount,
            payment_method=request.payment_method,
            customer_id=current_caller().customer,
            caller=current_caller().scope,
            request_id=request.request_id,
            request_hash=hash_of(request),
        )
        payment = await self._shield.run(self._dependencies.payments.create(command))
        return payment_service_pb2.CreatePaymentResponse(payment=replies.payment(payment))

    async def GetPayment(  # noqa: N802
        self, request: payment_service_pb2.GetPaymentRequest, _context: Context
    ) -> payment_service_pb2.GetPaymentResponse:
        async with self._database.read_only() as uow:
            payment = await uow.payments.get(
                request.payment_id, lock=False, customer_id=current_caller().customer
            )
        return payment_service_pb2.GetPaymentResponse(payment=replies.payment(payment))

    async def ListPayments(  # noqa: N802
        self, request: payment_service_pb2.ListPaymentsRequest, _context: Context
    ) -> payment_service_pb2.ListPaymentsResponse:
        page = Page.of(request, "pay")
        async with self._database.read_only() as uow:
            payments = await uow.payments.page(
                request.order_id, page.after, page.limit, customer_id=current_caller().customer
            )
        payments, token = page.split(payments, "payment_id")
        return payment_service_pb2.ListPaymentsResponse(
            payments=[replies.payment(payment) for payment in payments], next_page_token=token
        )
