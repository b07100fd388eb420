"""payment's domain in protobuf: what calls ask and get. `announcements` has the events."""

from dataclasses import asdict

from payment.v1 import access_code_pb2, access_code_service_pb2, money_pb2, payment_service_pb2
from payment_svc.domain.access_code_events import AuditEntry
from payment_svc.domain.access_codes import AccessCode, AccessCodeStatus
from payment_svc.domain.money import Money
from payment_svc.domain.orders import Order, Recipient
from payment_svc.domain.payments import Payment
from payment_svc.domain.products import Product
from payment_svc.domain.provider_notifications import ProviderNotification
from payment_svc.domain.refunds import Refund
from payment_svc.use_cases.ledger import LedgerEntry
from runtime.protobuf import to_timestamp


def from_money(message: money_pb2.Money) -> Money:
    """Money as the domain has it."""
    return Money(message.amount_minor, message.currency_code)


def from_recipient(message: access_code_pb2.Recipient) -> Recipient:
    """A recipient as the domain has it; no language means Chinese."""
    return Recipient(message.email, message.display_name, message.language_code or "zh-CN")


def money(amount: Money) -> money_pb2.Money:
    """Money as a message."""
    return money_pb2.Money(amount_minor=amount.amount_minor, currency_code=amount.currency_code)


def recipient(person: Recipient) -> access_code_pb2.Recipient:
    """A recipient as a message."""
    return access_code_pb2.Recipient(
        email=person.email, display_name=person.display_name, language_code=person.language_code
    )


def product(on_sale: Product) -> payment_service_pb2.Product:
    """A product as a message."""
    return payment_service_pb2.Product(
        product_id=on_sale.product_id,
        title_zh=on_sale.title_zh,
        title_en=on_sale.title_en,
        price=money(on_sale.price),
        validity_days=on_sale.validity.days,
    )


def order(aggregate: Order) -> payment_service_pb2.Order:
    """An order as a message."""
    return payment_service_pb2.Order(
        order_id=aggregate.order_id,
        customer_id=aggregate.customer_id,
        product_id=aggregate.product_id,
        price=money(aggregate.price),
        status=payment_service_pb2.OrderStatus.Value(f"ORDER_STATUS_{aggregate.status}"),
        recipient=recipient(aggregate.recipient),
        created_at=to_timestamp(aggregate.created_at),
        expire_at=to_timestamp(aggregate.expire_at),
        paid_at=to_timestamp(aggregate.paid_at) if aggregate.paid_at else None,
        access_code_id=aggregate.access_code_id or "",
        refunded=money(aggregate.refunded) if aggregate.paid_at else None,
        payment_id=aggregate.payment_id,
    )


def payment(aggregate: Payment) -> payment_service_pb2.Payment:
    """A payment as a message."""
    return payment_service_pb2.Payment(
        payment_id=aggregate.payment_id,
        order_id=aggregate.order_id,
        amount=money(aggregate.amount),
        status=payment_service_pb2.PaymentStatus.Value(f"PAYMENT_STATUS_{aggregate.status}"),
        failure_reason=aggregate.failure_reason,
        created_at=to_timestamp(aggregate.created_at),
        updated_at=to_timestamp(aggregate.updated_at),
        captured=money(aggregate.captured) if aggregate.captured else None,
    )


def payment_notification(
    aggregate: ProviderNotification,
) -> payment_service_pb2.PaymentNotification:
    """A provider's notification as a message."""
    return payment_service_pb2.PaymentNotification(
        payment_notification_id=aggregate.payment_notification_id,
        payment_id=aggregate.payment_id,
        order_id=aggregate.order_id,
        amount=money(aggregate.amount),
        status=payment_service_pb2.PaymentNotificationStatus.Value(
            f"PAYMENT_NOTIFICATION_STATUS_{aggregate.status}"
        ),
        quarantine_reason=aggregate.quarantine_reason,
        received_at=to_timestamp(aggregate.received_at),
        deliveries=aggregate.deliveries,
    )


def ledger_entry(entry: LedgerEntry) -> payment_service_pb2.LedgerEntry:
    """How some money stands, as a message."""
    return payment_service_pb2.LedgerEntry(**asdict(entry))


def access_code(aggregate: AccessCode) -> access_code_pb2.AccessCode:
    """An access code's record as a message."""
    return access_code_pb2.AccessCode(
        id=aggregate.id,
        code=aggregate.code,
        status=access_code_status(aggregate.status),
        expire_at=to_timestamp(aggregate.expire_at),
        order_id=aggregate.order_id,
        product_id=aggregate.product_id,
        version=aggregate.version,
        issued_at=to_timestamp(aggregate.issued_at),
        redeemed_session_id=aggregate.redeemed_session_id,
        redeemed_at=to_timestamp(aggregate.redeemed_at) if aggregate.redeemed_at else None,
        holds=[
            access_code_pb2.AccessCodeHold.Value(f"ACCESS_CODE_HOLD_{hold}")
            for hold in sorted(aggregate.holds)
        ],
        replaced_by=aggregate.replaced_by,
    )


def access_code_status(
    status: AccessCodeStatus | None,
) -> access_code_pb2.AccessCodeStatus.ValueType:
    """A code's status as it travels; UNSPECIFIED for none."""
    name = f"ACCESS_CODE_STATUS_{status or 'UNSPECIFIED'}"
    return access_code_pb2.AccessCodeStatus.Value(name)


def audit_entry(entry: AuditEntry) -> access_code_service_pb2.AccessCodeEvent:
    """One change of a code as a message."""
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


def refund(aggregate: Refund, *, overdue: bool) -> payment_service_pb2.Refund:
    """A refund as a message."""
    return payment_service_pb2.Refund(
        refund_id=aggregate.refund_id,
        order_id=aggregate.order_id,
        payment_id=aggregate.payment_id,
        amount=money(aggregate.amount),
        status=payment_service_pb2.RefundStatus.Value(f"REFUND_STATUS_{aggregate.status}"),
        full=aggregate.full,
        surplus=aggregate.surplus,
        reason=aggregate.reason,
        failure_reason=aggregate.failure_reason,
        created_at=to_timestamp(aggregate.created_at),
        updated_at=to_timestamp(aggregate.updated_at),
        asks=aggregate.asks,
        asked_at=to_timestamp(aggregate.asked_at) if aggregate.asked_at else None,
        released_at=to_timestamp(aggregate.released_at) if aggregate.released_at else None,
        overdue=overdue,
    )
