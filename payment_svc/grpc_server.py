"""payment's calls: request → command → reply. Errors get their status by the table below."""

import hashlib
from datetime import UTC, datetime
from typing import Any

import grpc

from payment.v1 import (
    access_code_service_pb2,
    access_code_service_pb2_grpc,
    payment_service_pb2,
    payment_service_pb2_grpc,
)
from payment_svc import messages
from payment_svc.charging import Charging, NotificationMismatch
from payment_svc.domain.access_codes import AccessCode, AccessCodeNotFound, ValidationReason
from payment_svc.domain.orders import AmountMismatch, OrderNotFound, OrderNotPayable
from payment_svc.domain.payments import PaymentInProgress, PaymentMethodUnknown, PaymentNotFound
from payment_svc.domain.products import CurrencyNotSupported, PriceMismatch, ProductNotFound
from payment_svc.gateways import NotificationMalformed, SignatureInvalid
from payment_svc.storage.code_lookup import CodeLookup
from payment_svc.storage.unit_of_work import Database
from payment_svc.use_cases import BeginPayment, PlaceOrder, place_order
from runtime.calls import Context, caller_of
from runtime.contracts import new_id, to_timestamp
from runtime.errors import Answer, ErrorTable, precondition
from runtime.grpc_server import Servicer
from runtime.idempotency import Replies, RequestIdReused
from runtime.paging import cut, last_id, size_of
from runtime.uninterrupted import Uninterrupted
from shared_model.access_code import MalformedAccessCode, normalise

_Code = grpc.StatusCode
ERRORS: ErrorTable = {
    ProductNotFound: Answer(_Code.NOT_FOUND, "PRODUCT_NOT_FOUND"),
    CurrencyNotSupported: Answer(_Code.INVALID_ARGUMENT, "CURRENCY_NOT_SUPPORTED"),
    PriceMismatch: Answer(_Code.FAILED_PRECONDITION, "PRICE_MISMATCH", precondition("PRICE")),
    OrderNotFound: Answer(_Code.NOT_FOUND, "ORDER_NOT_FOUND"),
    OrderNotPayable: Answer(
        _Code.FAILED_PRECONDITION, "ORDER_NOT_PAYABLE", precondition("ORDER_STATUS")
    ),
    AmountMismatch: Answer(_Code.FAILED_PRECONDITION, "AMOUNT_MISMATCH", precondition("AMOUNT")),
    PaymentNotFound: Answer(_Code.NOT_FOUND, "PAYMENT_NOT_FOUND"),
    PaymentInProgress: Answer(
        _Code.FAILED_PRECONDITION, "PAYMENT_IN_PROGRESS", precondition("PAYMENT_STATUS")
    ),
    PaymentMethodUnknown: Answer(_Code.INVALID_ARGUMENT, "PAYMENT_METHOD_UNKNOWN"),
    AccessCodeNotFound: Answer(_Code.NOT_FOUND, "ACCESS_CODE_NOT_FOUND"),
    MalformedAccessCode: Answer(_Code.NOT_FOUND, "ACCESS_CODE_NOT_FOUND"),
    RequestIdReused: Answer(_Code.ALREADY_EXISTS, "REQUEST_ID_REUSED"),
    SignatureInvalid: Answer(_Code.UNAUTHENTICATED, "NOTIFICATION_SIGNATURE_INVALID"),
    NotificationMalformed: Answer(_Code.INVALID_ARGUMENT, "NOTIFICATION_MALFORMED"),
    NotificationMismatch: Answer(_Code.FAILED_PRECONDITION, "NOTIFICATION_MISMATCH"),
}


class PaymentServicer(payment_service_pb2_grpc.PaymentServiceServicer):
    """payment.v1.PaymentService; its contract says what each call does."""

    def __init__(self, database: Database, charging: Charging, replies: Replies) -> None:
        self._database, self._charging, self._replies = database, charging, replies
        self._uninterrupted = Uninterrupted()

    async def ListProducts(  # noqa: N802
        self, _request: payment_service_pb2.ListProductsRequest, _context: Context
    ) -> payment_service_pb2.ListProductsResponse:
        async with self._database.reading() as uow:
            products = await uow.products.all()
        return payment_service_pb2.ListProductsResponse(
            products=[messages.product(product) for product in products]
        )

    async def CreateOrder(  # noqa: N802
        self, request: payment_service_pb2.CreateOrderRequest, context: Context
    ) -> payment_service_pb2.CreateOrderResponse:
        expected = request.expected_price if request.HasField("expected_price") else None
        command = PlaceOrder(
            order_id=new_id("ord"),
            customer_id=request.customer_id,
            product_id=request.product_id,
            expected_price=messages.from_money(expected) if expected else None,
            recipient=messages.from_recipient(request.recipient),
        )
        reply = payment_service_pb2.CreateOrderResponse
        async with self._database.transaction() as uow:

            async def work() -> payment_service_pb2.CreateOrderResponse:
                order = await place_order(command, uow, now=datetime.now(UTC))
                return reply(order=messages.order(order))

            return await self._replies.once(
                uow.connection, caller_of(context), request, reply, work
            )

    async def GetOrder(  # noqa: N802
        self, request: payment_service_pb2.GetOrderRequest, _context: Context
    ) -> payment_service_pb2.GetOrderResponse:
        async with self._database.reading() as uow:
            order = await uow.orders.get(request.order_id, lock=False)
        return payment_service_pb2.GetOrderResponse(order=messages.order(order))

    async def ListOrders(  # noqa: N802
        self, request: payment_service_pb2.ListOrdersRequest, _context: Context
    ) -> payment_service_pb2.ListOrdersResponse:
        size, last = size_of(request.page_size), last_id(request.page_token)
        status = payment_service_pb2.OrderStatus.Name(request.status)
        wanted = status.removeprefix("ORDER_STATUS_") if request.status else ""
        async with self._database.reading() as uow:
            orders = await uow.orders.page(request.customer_id, wanted, last, size + 1)
        page, token = cut(orders, size, "order_id")
        return payment_service_pb2.ListOrdersResponse(
            orders=[messages.order(order) for order in page], next_page_token=token
        )

    async def CreatePayment(  # noqa: N802
        self, request: payment_service_pb2.CreatePaymentRequest, context: Context
    ) -> payment_service_pb2.CreatePaymentResponse:
        amount = messages.from_money(request.amount) if request.HasField("amount") else None
        command = BeginPayment(
            payment_id=new_id("pay"),
            order_id=request.order_id,
            amount=amount,
            payment_method=request.payment_method,
            caller=caller_of(context),
            request_id=request.request_id,
            request_hash=hashlib.sha256(request.SerializeToString(deterministic=True)).digest(),
        )
        payment = await self._uninterrupted.run(self._charging.pay(command))
        return payment_service_pb2.CreatePaymentResponse(payment=messages.payment(payment))

    async def GetPayment(  # noqa: N802
        self, request: payment_service_pb2.GetPaymentRequest, _context: Context
    ) -> payment_service_pb2.GetPaymentResponse:
        async with self._database.reading() as uow:
            payment = await uow.payments.get(request.payment_id, lock=False)
        return payment_service_pb2.GetPaymentResponse(payment=messages.payment(payment))

    async def ListPayments(  # noqa: N802
        self, request: payment_service_pb2.ListPaymentsRequest, _context: Context
    ) -> payment_service_pb2.ListPaymentsResponse:
        size, last = size_of(request.page_size), last_id(request.page_token)
        async with self._database.reading() as uow:
            payments = await uow.payments.page(request.order_id, last, size + 1)
        page, token = cut(payments, size, "payment_id")
        return payment_service_pb2.ListPaymentsResponse(
            payments=[messages.payment(payment) for payment in page], next_page_token=token
        )

    async def IngestPaymentNotification(  # noqa: N802
        self, request: payment_service_pb2.IngestPaymentNotificationRequest, _context: Context
    ) -> payment_service_pb2.IngestPaymentNotificationResponse:
        payment = await self._uninterrupted.run(
            self._charging.ingest(request.body, request.headers)
        )
        return payment_service_pb2.IngestPaymentNotificationResponse(
            payment=messages.payment(payment)
        )


class AccessCodeServicer(access_code_service_pb2_grpc.AccessCodeServiceServicer):
    """payment.v1.AccessCodeService; its contract says what each call does."""

    def __init__(self, database: Database, lookup: CodeLookup) -> None:
        self._database, self._lookup = database, lookup

    async def ValidateAccessCode(  # noqa: N802
        self, request: access_code_service_pb2.ValidateAccessCodeRequest, _context: Context
    ) -> access_code_service_pb2.ValidateAccessCodeResponse:
        try:
            typed = normalise(request.access_code)
        except MalformedAccessCode:
            return _validation(ValidationReason.MALFORMED, None, datetime.now(UTC))
        found = await self._lookup.find(typed)
        now = datetime.now(UTC)
        if found is None:
            return _validation(ValidationReason.NOT_FOUND, None, now)
        return _validation(found.validate(request.product_id, now), found, now)

    async def GetAccessCode(  # noqa: N802
        self, request: access_code_service_pb2.GetAccessCodeRequest, _context: Context
    ) -> access_code_service_pb2.GetAccessCodeResponse:
        name = request.WhichOneof("name") or "access_code_id"
        value = str(getattr(request, name))
        column = {"access_code_id": "id", "access_code": "code"}.get(name, name)
        value = normalise(value) if column == "code" else value
        async with self._database.reading() as uow:
            if (found := await uow.access_codes.find(column, value)) is None:
                raise AccessCodeNotFound("no such access code")
            order = await uow.orders.get(found.order_id, lock=False)
        return access_code_service_pb2.GetAccessCodeResponse(
            record=messages.access_code(found),
            recipient=messages.recipient(order.recipient),
            customer_id=order.customer_id,
        )


def _validation(
    reason: ValidationReason, found: AccessCode | None, now: datetime
) -> access_code_service_pb2.ValidateAccessCodeResponse:
    return access_code_service_pb2.ValidateAccessCodeResponse(
        valid=reason is ValidationReason.VALID,
        reason=access_code_service_pb2.ValidationReason.Value(f"VALIDATION_REASON_{reason}"),
        record=messages.access_code(found) if found else None,
        as_of=to_timestamp(now),
    )


def servicers(payments: PaymentServicer, codes: AccessCodeServicer) -> list[Servicer]:
    """What payment serves."""
    register_payments: Any = payment_service_pb2_grpc.add_PaymentServiceServicer_to_server
    register_codes: Any = access_code_service_pb2_grpc.add_AccessCodeServiceServicer_to_server
    return [
        Servicer("payment.v1.PaymentService", register_payments, payments),
        Servicer("payment.v1.AccessCodeService", register_codes, codes),
    ]
