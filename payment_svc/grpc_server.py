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
from runtime.calls import Context
from runtime.contracts import new_id, to_timestamp
from runtime.errors import REQUEST_ID_REUSED, Answer, ErrorTable, precondition
from runtime.grpc_server import Servicer
from runtime.guessing import TOO_MANY_GUESSES, GuessLimiter, TooManyGuesses
from runtime.idempotency import Replies, RequestIdReused
from runtime.identity import Role, current_caller
from runtime.paging import cut, last_id, size_of
from runtime.uninterrupted import Uninterrupted
from shared_model.access_code import MalformedAccessCode, normalise


class NotTheirs(Exception):
    """A customer may order for themselves only."""


_Code = grpc.StatusCode
_NO_CODE = Answer(_Code.NOT_FOUND, "ACCESS_CODE_NOT_FOUND", "访问码不存在")


def _unmet(reason: str, zh: str, kind: str) -> Answer:
    return Answer(_Code.FAILED_PRECONDITION, reason, zh, precondition(kind))


def _wrong(reason: str, zh: str) -> Answer:
    return Answer(_Code.INVALID_ARGUMENT, reason, zh)


ERRORS: ErrorTable = {
    ProductNotFound: Answer(_Code.NOT_FOUND, "PRODUCT_NOT_FOUND", "商品不存在"),
    CurrencyNotSupported: _wrong("CURRENCY_NOT_SUPPORTED", "不支持该币种"),
    PriceMismatch: _unmet("PRICE_MISMATCH", "价格与商品目录不符", "PRICE"),
    NotTheirs: Answer(_Code.PERMISSION_DENIED, "NOT_YOUR_CUSTOMER_ID", "只能为自己下单"),
    OrderNotFound: Answer(_Code.NOT_FOUND, "ORDER_NOT_FOUND", "订单不存在"),
    OrderNotPayable: _unmet("ORDER_NOT_PAYABLE", "订单当前不能支付", "ORDER_STATUS"),
    AmountMismatch: _unmet("AMOUNT_MISMATCH", "金额与订单不符", "AMOUNT"),
    PaymentNotFound: Answer(_Code.NOT_FOUND, "PAYMENT_NOT_FOUND", "支付记录不存在"),
    PaymentInProgress: _unmet("PAYMENT_IN_PROGRESS", "另一笔支付尚未完成", "PAYMENT_STATUS"),
    PaymentMethodUnknown: _wrong("PAYMENT_METHOD_UNKNOWN", "不支持该支付方式"),
    AccessCodeNotFound: _NO_CODE,
    MalformedAccessCode: _NO_CODE,
    RequestIdReused: REQUEST_ID_REUSED,
    SignatureInvalid: Answer(
        _Code.UNAUTHENTICATED, "NOTIFICATION_SIGNATURE_INVALID", "通知签名无效"
    ),
    NotificationMalformed: _wrong("NOTIFICATION_MALFORMED", "通知内容无法解析"),
    NotificationMismatch: _unmet("NOTIFICATION_MISMATCH", "通知与支付记录不符", "PAYMENT"),
    TooManyGuesses: TOO_MANY_GUESSES,
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
        self, request: payment_service_pb2.CreateOrderRequest, _context: Context
    ) -> payment_service_pb2.CreateOrderResponse:
        if current_caller().customer not in {None, request.customer_id}:
            raise NotTheirs
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
                uow.connection, current_caller().scope, request, reply, work
            )

    async def GetOrder(  # noqa: N802
        self, request: payment_service_pb2.GetOrderRequest, _context: Context
    ) -> payment_service_pb2.GetOrderResponse:
        async with self._database.reading() as uow:
            order = await uow.orders.get(request.order_id, lock=False)
        order.check_visible(current_caller().customer)
        return payment_service_pb2.GetOrderResponse(order=messages.order(order))

    async def ListOrders(  # noqa: N802
        self, request: payment_service_pb2.ListOrdersRequest, _context: Context
    ) -> payment_service_pb2.ListOrdersResponse:
        size, last = size_of(request.page_size), last_id(request.page_token)
        status = payment_service_pb2.OrderStatus.Name(request.status)
        wanted = status.removeprefix("ORDER_STATUS_") if request.status else ""
        async with self._database.reading() as uow:
            orders = await uow.orders.page(
                request.customer_id, wanted, last, size + 1, only=current_caller().customer
            )
        page, token = cut(orders, size, "order_id")
        return payment_service_pb2.ListOrdersResponse(
            orders=[messages.order(order) for order in page], next_page_token=token
        )

    async def CreatePayment(  # noqa: N802
        self, request: payment_service_pb2.CreatePaymentRequest, _context: Context
    ) -> payment_service_pb2.CreatePaymentResponse:
        amount = messages.from_money(request.amount) if request.HasField("amount") else None
        command = BeginPayment(
            payment_id=new_id("pay"),
            order_id=request.order_id,
            amount=amount,
            payment_method=request.payment_method,
            customer=current_caller().customer,
            caller=current_caller().scope,
            request_id=request.request_id,
            request_hash=hashlib.sha256(request.SerializeToString(deterministic=True)).digest(),
        )
        payment = await self._uninterrupted.run(self._charging.pay(command))
        return payment_service_pb2.CreatePaymentResponse(payment=messages.payment(payment))

    async def GetPayment(  # noqa: N802
        self, request: payment_service_pb2.GetPaymentRequest, _context: Context
    ) -> payment_service_pb2.GetPaymentResponse:
        async with self._database.reading() as uow:
            payment = await uow.payments.get(
                request.payment_id, lock=False, only=current_caller().customer
            )
        return payment_service_pb2.GetPaymentResponse(payment=messages.payment(payment))

    async def ListPayments(  # noqa: N802
        self, request: payment_service_pb2.ListPaymentsRequest, _context: Context
    ) -> payment_service_pb2.ListPaymentsResponse:
        size, last = size_of(request.page_size), last_id(request.page_token)
        async with self._database.reading() as uow:
            payments = await uow.payments.page(
                request.order_id, last, size + 1, only=current_caller().customer
            )
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

    def __init__(self, database: Database, lookup: CodeLookup, guesses: GuessLimiter) -> None:
        self._database, self._lookup, self._guesses = database, lookup, guesses

    async def ValidateAccessCode(  # noqa: N802
        self, request: access_code_service_pb2.ValidateAccessCodeRequest, context: Context
    ) -> access_code_service_pb2.ValidateAccessCodeResponse:
        await self._guesses.check(context)
        try:
            found = await self._lookup.find(normalise(request.access_code))
            missing = ValidationReason.NOT_FOUND
        except MalformedAccessCode:
            found, missing = None, ValidationReason.MALFORMED
        now = datetime.now(UTC)
        customer = Role.CUSTOMER in current_caller().roles
        if found is None:
            await self._guesses.failed(context)
            return _validation(ValidationReason.NOT_FOUND if customer else missing, None, now)
        # A code proves nothing about whose order it is: customers learn no more than its validity.
        shown = None if customer else found
        return _validation(found.validate(request.product_id, now), shown, now)

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
