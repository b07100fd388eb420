"""Writes domain values as messages of replies."""

from dataclasses import asdict

from payment.v1 import access_code_pb2, access_code_service_pb2, money_pb2, payment_service_pb2
from payment_svc.domain.access_code_events import AccessCodeSnapshot, AuditEntry
from payment_svc.domain.access_code_status import AccessCodeStatus
from payment_svc.domain.access_codes import AccessCode
from payment_svc.domain.money import Money
from payment_svc.domain.orders import Order
from payment_svc.domain.payments import Payment
from payment_svc.domain.products import Product
from payment_svc.domain.provider_notifications import ProviderNotification
from payment_svc.domain.recipient import Recipient
from payment_svc.domain.refunds import Refund
from payment_svc.use_cases.ledger import LedgerEntry
from runtime.protobuf import to_timestamp

_STATUSES = {
    status: access_code_pb2.AccessCodeStatus.Value(f"ACCESS_CODE_STATUS_{status}")
    for status in AccessCodeStatus
}


def money(value: Money) -> money_pb2.Money:
    return money_pb2.Money(amount_minor=value.amount_minor, currency_code=value.currency_code)


def recipient(value: Recipient) -> access_code_pb2.Recipient:
    return access_code_pb2.Recipient(
        email=value.email, display_name=value.display_name, language_code=value.language_code
    )


def product(value: Product) -> payment_service_pb2.Product:
    return payment_service_pb2.Product(
        product_id=value.product_id,
        title_zh=value.title_zh,
        title_en=value.title_en,
        price=money(value.price),
        validity_days=value.validity.days,
    )


def order(value: Order) -> payment_service_pb2.Order:
    return payment_service_pb2.Order(
        order_id=value.order_id,
        customer_id=value.customer_id,
        product_id=value.product_id,
        price=money(value.price),
        status=payment_service_pb2.OrderStatus.Value(f"ORDER_STATUS_{value.status}"),
        recipient=recipient(value.recipient),
        created_at=to_timestamp(value.created_at),
        expire_at=to_timestamp(value.expire_at),
        paid_at=to_timestamp(value.paid_at) if value.paid_at else None,
        access_code_id=value.access_code_id or "",
        refunded=money(value.refunded) if value.paid_at else None,
        payment_id=value.payment_id,
    )


def payment(value: Payment) -> payment_service_pb2.Payment:
    return payment_service_pb2.Payment(
        payment_id=value.payment_id,
        order_id=value.order_id,
        amount=money(value.amount),
        status=payment_service_pb2.PaymentStatus.Value(f"PAYMENT_STATUS_{value.status}"),
        failure_reason=value.failure_reason,
        created_at=to_timestamp(value.created_at),
        updated_at=to_timestamp(value.updated_at),
        captured=money(value.captured) if value.captured else None,
    )


def payment_notification(
    value: ProviderNotification,
) -> payment_service_pb2.PaymentNotification:
    dismissal = value.dismissal
    return payment_service_pb2.PaymentNotification(
        payment_notification_id=value.provider_notification_id,
        payment_id=value.payment_id,
        order_id=value.order_id,
        kind=value.kind,
        amount=money(value.amount) if value.amount else None,
        status=payment_service_pb2.PaymentNotificationStatus.Value(
            f"PAYMENT_NOTIFICATION_STATUS_{value.status}"
        ),
        quarantine_reason=value.quarantine_reason,
        received_at=to_timestamp(value.received_at),
        deliveries=value.deliveries,
        dismissed_at=to_timestamp(dismissal.dismissed_at) if dismissal else None,
        dismissed_by=dismissal.dismissed_by if dismissal else "",
        dismissal_reason=dismissal.dismissal_reason if dismissal else "",
    )


def ledger_entry(entry: LedgerEntry) -> payment_service_pb2.LedgerEntry:
    return payment_service_pb2.LedgerEntry(**asdict(entry))


def access_code(record: AccessCode | AccessCodeSnapshot) -> access_code_pb2.AccessCode:
    message = access_code_pb2.AccessCode(
        id=record.id,
        code=record.code,
        status=_STATUSES[record.status],
        expire_at=to_timestamp(record.expire_at),
        order_id=record.order_id,
        product_id=record.product_id,
        version=record.version,
        issued_at=to_timestamp(record.issued_at),
        redeemed_session_id=record.redeemed_session_id,
        redeemed_at=to_timestamp(record.redeemed_at) if record.redeemed_at else None,
        replaced_by=record.replaced_by,
    )
    for hold in sorted(record.holds):
        message.holds.append(access_code_pb2.AccessCodeHold.Value(f"ACCESS_CODE_HOLD_{hold}"))
    return message


def access_code_status(
    status: AccessCodeStatus | None,
) -> access_code_pb2.AccessCodeStatus.ValueType:
    """The status; UNSPECIFIED for None."""
    return access_code_pb2.ACCESS_CODE_STATUS_UNSPECIFIED if status is None else _STATUSES[status]


def audit_entry(entry: AuditEntry) -> access_code_service_pb2.AccessCodeEvent:
    return access_code_service_pb2.AccessCodeEvent(
        access_code_id=entry.access_code_id,
        version=entry.version,
        changed_at=to_timestamp(entry.changed_at),
        actor=entry.actor,
        before=access_code_status(entry.before),
        after=access_code_status(entry.after),
        cause_event_id=entry.cause_event_id,
        reason=entry.reason,
    )


def refund(value: Refund, *, overdue: bool) -> payment_service_pb2.Refund:
    return payment_service_pb2.Refund(
        refund_id=value.refund_id,
        order_id=value.order_id,
        payment_id=value.payment_id,
        amount=money(value.amount),
        status=payment_service_pb2.RefundStatus.Value(f"REFUND_STATUS_{value.status}"),
        full=value.full,
        surplus=value.surplus,
        reason=value.reason,
        failure_reason=value.failure_reason,
        created_at=to_timestamp(value.created_at),
        updated_at=to_timestamp(value.updated_at),
        asks=value.asks,
        asked_at=to_timestamp(value.asked_at) if value.asked_at else None,
        released_at=to_timestamp(value.released_at) if value.released_at else None,
        overdue=overdue,
    )
