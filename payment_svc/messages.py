"""payment's domain in protobuf: events for the bus, replies for calls."""

from datetime import datetime

from eventbus import Event
from payment.v1 import access_code_pb2, events_pb2, money_pb2, payment_service_pb2
from payment_svc.domain.access_codes import AccessCode, AccessCodeRedeemed
from payment_svc.domain.money import Money
from payment_svc.domain.orders import Order, PaymentCompleted, Recipient
from payment_svc.domain.payments import Payment
from payment_svc.domain.products import Product
from runtime.contracts import to_event, to_timestamp

SOURCE = "payment"
DomainEvent = PaymentCompleted | AccessCodeRedeemed


def to_bus(event: DomainEvent) -> Event:
    """A domain event as it travels."""
    match event:
        case PaymentCompleted():
            return to_event(_payment_completed(event), SOURCE, event.occurred_at)
        case AccessCodeRedeemed():
            return to_event(_access_code_redeemed(event), SOURCE, event.occurred_at)


def watermark(as_of: datetime) -> Event:
    """Says that the feed is complete up to a moment."""
    return to_event(events_pb2.Watermark(as_of=to_timestamp(as_of)), SOURCE, as_of)


def _payment_completed(event: PaymentCompleted) -> events_pb2.PaymentCompleted:
    return events_pb2.PaymentCompleted(
        order_id=event.order_id,
        access_code=event.access_code,
        expire_at=to_timestamp(event.expire_at),
        access_code_id=event.access_code_id,
        version=event.version,
        product_id=event.product_id,
        recipient=access_code_pb2.Recipient(
            email=event.email,
            display_name=event.display_name,
            language_code=event.language_code,
        ),
        customer_id=event.customer_id,
        payment_id=event.payment_id,
        completed_at=to_timestamp(event.occurred_at),
    )


def _access_code_redeemed(event: AccessCodeRedeemed) -> events_pb2.AccessCodeRedeemed:
    return events_pb2.AccessCodeRedeemed(
        order_id=event.order_id,
        record=access_code(event.record),
        cause_event_id=event.cause_event_id,
    )


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
    )


def access_code(aggregate: AccessCode) -> access_code_pb2.AccessCode:
    """An access code's record as a message."""
    return access_code_pb2.AccessCode(
        id=aggregate.id,
        code=aggregate.code,
        status=access_code_pb2.AccessCodeStatus.Value(f"ACCESS_CODE_STATUS_{aggregate.status}"),
        expire_at=to_timestamp(aggregate.expire_at),
        order_id=aggregate.order_id,
        product_id=aggregate.product_id,
        version=aggregate.version,
        issued_at=to_timestamp(aggregate.issued_at),
        redeemed_session_id=aggregate.redeemed_session_id,
        redeemed_at=to_timestamp(aggregate.redeemed_at) if aggregate.redeemed_at else None,
    )
