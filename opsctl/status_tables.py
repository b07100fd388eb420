"""The tables of `opsctl status`."""

from collections.abc import Iterator, Sequence

from interview.v1 import interview_service_pb2
from notification.v1 import notification_service_pb2
from ops.v1 import ops_service_pb2
from opsctl.output import age, timestamp
from opsctl.tables import FittingTable, table
from payment.v1 import payment_service_pb2

_BUS_COLUMNS = (
    "service",
    "component",
    "pending #",
    "unacknowledged #",
    "oldest #",
    "parked #",
    "dead letters #",
    "last error",
)
_DOMAIN_COLUMNS = ("service", "what", "number #", "oldest #", "cause")
_Row = tuple[object, ...]


def bus_table(
    statuses: Sequence[tuple[str, ops_service_pb2.GetBusStatusResponse | None]],
) -> FittingTable:
    """Outboxes and consumers; None stands for a failed call."""
    rows = [row for service, status in statuses for row in _bus_rows(service, status)]
    return table("Event bus", _BUS_COLUMNS, rows)


def _bus_rows(service: str, status: ops_service_pb2.GetBusStatusResponse | None) -> Iterator[_Row]:
    if status is None:
        yield (service, *["-"] * (len(_BUS_COLUMNS) - 2), "call failed")
        return
    outbox = status.outbox
    yield (
        service,
        "outbox",
        outbox.unpublished_count,
        "-",
        age(outbox.oldest_unpublished_age),
        outbox.parked_count,
        "-",
        outbox.last_error,
    )
    for consumer in status.consumers:
        name = f"{consumer.stream} → {consumer.consumer}"
        yield (
            service,
            f"{name} (paused)" if consumer.paused else name,
            consumer.pending_count,
            consumer.unacknowledged_count,
            age(consumer.oldest_unhandled_age),
            "-",
            consumer.dead_letter_count,
            consumer.last_error,
        )


def domain_table(
    mails: notification_service_pb2.GetMailStatusResponse | None,
    settlement: payment_service_pb2.GetSettlementStatusResponse | None,
    fallback: interview_service_pb2.GetFallbackStatusResponse | None,
) -> FittingTable:
    """Mails, payments, refunds and the fallback; None stands for a failed call."""
    rows = [
        *(_mail_rows(mails) if mails else ()),
        *(_settlement_rows(settlement) if settlement else ()),
        *(_fallback_rows(fallback) if fallback else ()),
    ]
    return table("Mails, money and the fallback", _DOMAIN_COLUMNS, rows)


def _mail_rows(mails: notification_service_pb2.GetMailStatusResponse) -> Iterator[_Row]:
    service, queued_age = "notification", age(mails.oldest_queued_age)
    yield service, "mails queued", mails.queued_count + mails.sending_count, queued_age, ""
    deferred_age = age(mails.oldest_deferred_age)
    yield service, "mails deferred", mails.deferred_count, deferred_age, mails.last_error
    failed_age = age(mails.oldest_failed_age)
    yield service, "mails failed", mails.failed_count, failed_age, mails.last_failure


def _settlement_rows(
    settlement: payment_service_pb2.GetSettlementStatusResponse,
) -> Iterator[_Row]:
    for what, unsettled in (
        ("payments without outcome", settlement.payments),
        ("refunds waiting for interview", settlement.refunds_waiting_for_interview),
        ("refunds waiting for the provider", settlement.refunds_waiting_for_provider),
    ):
        yield "payment", what, unsettled.count, age(unsettled.oldest_age), unsettled.cause
    quarantined_age = age(settlement.oldest_quarantined_notification_age)
    quarantined_count = settlement.quarantined_notification_count
    yield "payment", "notifications quarantined", quarantined_count, quarantined_age, ""


def _fallback_rows(fallback: interview_service_pb2.GetFallbackStatusResponse) -> Iterator[_Row]:
    since = timestamp(fallback.unavailable_since)
    state = "available" if fallback.available else f"off{f' since {since}' if since else ''}"
    yield "interview", f"fallback {state}", "-", "-", fallback.reason
    yield "interview", "orders with a stale code", fallback.stale_order_count, "-", ""
