"""payment.v1.PaymentService: request → command → reply."""

from payment.v1 import (
    payment_service_pb2,
    payment_service_pb2_grpc,
)
from payment_svc.grpc_server.dependencies import Dependencies
from payment_svc.grpc_server.ledger import LedgerCalls
from payment_svc.grpc_server.orders import OrderCalls
from payment_svc.grpc_server.payment_notifications import NotificationCalls
from payment_svc.grpc_server.refunds import RefundCalls
from payment_svc.messages import replies
from payment_svc.use_cases.payments import CreatePayment
from runtime.auth.authentication import current_caller
from runtime.database.idempotency import hash_of
from runtime.protobuf import new_id
from runtime.rpc.interceptor import Context
from runtime.rpc.pagination import cut, last_id, size_of
from runtime.rpc.shielding import CancellationShield


class PaymentServicer(
    OrderCalls,
    RefundCalls,
    NotificationCalls,
    LedgerCalls,
    payment_service_pb2_grpc.PaymentServiceServicer,
):
    """payment.v1.PaymentService; its contract says what each call does."""

    def __init__(self, dependencies: Dependencies) -> None:
        self._database, self._replies = dependencies.database, dependencies.replies
        self._charging, self._closing, self._intake = (
            dependencies.charging,
            dependencies.closing,
            dependencies.intake,
        )
        self._refunding, self._watch = dependencies.refunding, dependencies.watch
        self._time_to_pay = dependencies.time_to_pay
        self._shield = CancellationShield()

    async def ListProducts(  # noqa: N802
        self, _request: payment_service_pb2.ListProductsRequest, _context: Context
    ) -> payment_service_pb2.ListProductsResponse:
        async with self._database.read_only() as uow:
            products = await uow.products.all()
        return payment_service_pb2.ListProductsResponse(
            products=[replies.product(product) for product in products]
        )

    async def CreatePayment(  # noqa: N802
        self, request: payment_service_pb2.CreatePaymentRequest, _context: Context
    ) -> payment_service_pb2.CreatePaymentResponse:
        amount = replies.from_money(request.amount) if request.HasField("amount") else None
        command = CreatePayment(
            payment_id=new_id("pay"),
            order_id=request.order_id,
            amount=amount,
            payment_method=request.payment_method,
            customer=current_caller().customer,
            caller=current_caller().scope,
            request_id=request.request_id,
            request_hash=hash_of(request),
        )
        payment = await self._shield.run(self._charging.pay(command))
        return payment_service_pb2.CreatePaymentResponse(payment=replies.payment(payment))

    async def GetPayment(  # noqa: N802
        self, request: payment_service_pb2.GetPaymentRequest, _context: Context
    ) -> payment_service_pb2.GetPaymentResponse:
        async with self._database.read_only() as uow:
            payment = await uow.payments.get(
                request.payment_id, lock=False, only=current_caller().customer
            )
        return payment_service_pb2.GetPaymentResponse(payment=replies.payment(payment))

    async def ListPayments(  # noqa: N802
        self, request: payment_service_pb2.ListPaymentsRequest, _context: Context
    ) -> payment_service_pb2.ListPaymentsResponse:
        size, last = size_of(request.page_size), last_id(request.page_token, "pay")
        async with self._database.read_only() as uow:
            payments = await uow.payments.page(
                request.order_id, last, size + 1, only=current_caller().customer
            )
        page, token = cut(payments, size, "payment_id")
        return payment_service_pb2.ListPaymentsResponse(
            payments=[replies.payment(payment) for payment in page], next_page_token=token
        )
