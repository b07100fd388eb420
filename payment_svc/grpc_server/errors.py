"""The gRPC status, reason and Chinese text of each of payment's errors."""

import grpc

from payment_svc.domain.access_code_errors import (
    AccessCodeNotFound,
    AccessCodeNotReinstatable,
    AccessCodeNotReissuable,
    AccessCodeNotRevocable,
    AccessCodeNotSuspendable,
    AccessCodeUsed,
)
from payment_svc.domain.order_errors import (
    AmountMismatch,
    OrderNotCancellable,
    OrderNotFound,
    OrderNotPayable,
    OrderNotRefundable,
    RefundInProgress,
)
from payment_svc.domain.payment_errors import (
    PaymentInProgress,
    PaymentMethodUnknown,
    PaymentNotFound,
)
from payment_svc.domain.products import CurrencyNotSupported, PriceMismatch, ProductNotFound
from payment_svc.domain.provider_notifications import (
    ProviderNotificationNotFound,
    ProviderNotificationNotQuarantined,
)
from payment_svc.domain.refund_errors import RefundNotFound
from payment_svc.gateways import SignatureInvalid, WebhookMalformed
from payment_svc.workflows.payments import ProviderUnavailable
from runtime.database.idempotency import RequestIdReused
from runtime.rpc.errors import (
    REQUEST_ID_REUSED,
    ErrorSpec,
    ErrorTable,
    FieldSpec,
    precondition,
    retry_after,
)
from runtime.rpc.failed_attempt_limit import TOO_MANY_FAILED_ATTEMPTS, TooManyFailedAttempts
from shared_model.access_code import MALFORMED_ZH, MalformedAccessCode
from shared_model.mail_address import MalformedMailAddress


class ForeignCustomerId(Exception):
    """Customers may create orders for themselves only."""


_Code = grpc.StatusCode
_CODE_STATUS = "ACCESS_CODE_STATUS"
_NO_CODE = ErrorSpec(_Code.NOT_FOUND, "ACCESS_CODE_NOT_FOUND", "访问码不存在")


def _precondition(reason: str, zh: str, kind: str) -> ErrorSpec:
    return ErrorSpec(_Code.FAILED_PRECONDITION, reason, zh, precondition(kind))


ERRORS: ErrorTable = {
    ProductNotFound: ErrorSpec(_Code.NOT_FOUND, "PRODUCT_NOT_FOUND", "商品不存在"),
    CurrencyNotSupported: FieldSpec(
        "expected_price.currency_code",
        "CURRENCY_NOT_SUPPORTED",
        "must be a currency in which products are sold",
        "必须是商品支持的币种",
    ),
    PriceMismatch: _precondition("PRICE_MISMATCH", "价格与商品目录不符", "PRICE"),
    ForeignCustomerId: ErrorSpec(
        _Code.PERMISSION_DENIED,
        "NOT_YOUR_CUSTOMER_ID",
        "只能为自己下单",
        message_en="customers may create orders for themselves only",
    ),
    MalformedMailAddress: FieldSpec("recipient.email", "INVALID_REQUEST"),
    OrderNotFound: ErrorSpec(_Code.NOT_FOUND, "ORDER_NOT_FOUND", "订单不存在"),
    OrderNotPayable: _precondition("ORDER_NOT_PAYABLE", "订单当前不能支付", "ORDER_STATUS"),
    OrderNotCancellable: _precondition("ORDER_NOT_CANCELLABLE", "订单当前不能取消", "ORDER_STATUS"),
    ProviderUnavailable: ErrorSpec(
        _Code.UNAVAILABLE,
        "PROVIDER_UNAVAILABLE",
        "支付渠道暂时不可用,请稍后再试",
        retry_after(2.0),
    ),
    AmountMismatch: _precondition("AMOUNT_MISMATCH", "金额与订单不符", "AMOUNT"),
    PaymentNotFound: ErrorSpec(_Code.NOT_FOUND, "PAYMENT_NOT_FOUND", "支付记录不存在"),
    PaymentInProgress: _precondition("PAYMENT_IN_PROGRESS", "另一笔支付尚未完成", "PAYMENT_STATUS"),
    PaymentMethodUnknown: FieldSpec(
        "payment_method",
        "PAYMENT_METHOD_UNKNOWN",
        "must be a payment method of the provider",
        "必须是支付渠道支持的支付方式",
    ),
    OrderNotRefundable: _precondition("ORDER_NOT_REFUNDABLE", "订单当前不能退款", "ORDER_STATUS"),
    RefundInProgress: _precondition("REFUND_IN_PROGRESS", "另一笔退款尚未完成", "ORDER_STATUS"),
    RefundNotFound: ErrorSpec(_Code.NOT_FOUND, "REFUND_NOT_FOUND", "退款记录不存在"),
    AccessCodeUsed: _precondition(
        "ACCESS_CODE_REDEEMED", "访问码已使用,不能全额退款", _CODE_STATUS
    ),
    AccessCodeNotRevocable: _precondition(
        "ACCESS_CODE_NOT_REVOCABLE", "访问码当前不能撤销", _CODE_STATUS
    ),
    AccessCodeNotSuspendable: _precondition(
        "ACCESS_CODE_NOT_SUSPENDABLE", "访问码当前不能暂停", _CODE_STATUS
    ),
    AccessCodeNotReinstatable: _precondition(
        "ACCESS_CODE_NOT_REINSTATABLE", "访问码当前不能恢复", _CODE_STATUS
    ),
    AccessCodeNotReissuable: _precondition(
        "ACCESS_CODE_NOT_REISSUABLE", "访问码当前不能补发", _CODE_STATUS
    ),
    AccessCodeNotFound: _NO_CODE,
    MalformedAccessCode: ErrorSpec(_Code.NOT_FOUND, "ACCESS_CODE_NOT_FOUND", MALFORMED_ZH),
    RequestIdReused: REQUEST_ID_REUSED,
    SignatureInvalid: ErrorSpec(
        _Code.UNAUTHENTICATED,
        "NOTIFICATION_SIGNATURE_INVALID",
        "通知签名无效",
        message_en="the notification has no valid, current signature of the provider",
    ),
    WebhookMalformed: FieldSpec(
        "body", "NOTIFICATION_MALFORMED", "must be a notification of a charge", "必须是支付通知"
    ),
    ProviderNotificationNotFound: ErrorSpec(
        _Code.NOT_FOUND, "PAYMENT_NOTIFICATION_NOT_FOUND", "支付渠道通知不存在"
    ),
    ProviderNotificationNotQuarantined: _precondition(
        "PAYMENT_NOTIFICATION_NOT_QUARANTINED",
        "支付渠道通知未被隔离,不能标记为已处理",
        "PAYMENT_NOTIFICATION_STATUS",
    ),
    TooManyFailedAttempts: TOO_MANY_FAILED_ATTEMPTS,
}
