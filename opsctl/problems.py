"""What requires an operator, as one line each, from the statuses that the services report."""

from collections.abc import Iterator
from datetime import timedelta

from google.protobuf.duration_pb2 import Duration

from interview.v1 import interview_service_pb2
from notification.v1 import notification_service_pb2
from ops.v1 import ops_service_pb2
from opsctl.output import age, timestamp
from payment.v1 import payment_service_pb2

# What waits longer needs an operator.
_MAX_AGE = timedelta(minutes=1)


def bus_problems(service: str, status: ops_service_pb2.GetBusStatusResponse) -> Iterator[str]:
    """Problems of a service's outbox and consumers."""
    if not status.broker_connected:
        yield f"{service}: not connected to the broker"
    outbox = status.outbox
    if outbox.parked_count:
        yield f"{service}: parked events in the outbox: {outbox.parked_count}; see retry-parked"
    elif _is_old(outbox.oldest_unpublished_age):
        oldest = age(outbox.oldest_unpublished_age)
        error = outbox.last_error or "no error"
        yield f"{service}: oldest unpublished event is {oldest} old: {error}"
    for consumer in status.consumers:
        label = f"{service}: consumer {consumer.consumer} of {consumer.stream}"
        if consumer.paused:
            yield f"{label}: paused until {timestamp(consumer.paused_until)}"
        if consumer.dead_letter_count:
            yield f"{label}: dead letters: {consumer.dead_letter_count}"
        if _is_old(consumer.oldest_unhandled_age):
            yield f"{label}: oldest unhandled message is {age(consumer.oldest_unhandled_age)} old"


def mail_problems(
    service: str, status: notification_service_pb2.GetMailStatusResponse
) -> Iterator[str]:
    """Problems of mailing."""
    if status.failed_count:
        yield (
            f"{service}: mails that need an operator: {status.failed_count},"
            f" the newest: {status.last_failure}; see mails list --unresolved"
        )
    if status.mail_server_unavailable:
        yield (
            f"{service}: the mail server accepts no mail: {status.last_error};"
            f" {status.deferred_count} deferred, the oldest {age(status.oldest_deferred_age)} old"
        )
    elif _is_old(status.oldest_waiting_age):
        oldest = age(status.oldest_waiting_age)
        yield f"{service}: oldest waiting mail is {oldest} old: {status.last_error or 'no error'}"


def settlement_problems(
    service: str, status: payment_service_pb2.GetSettlementStatusResponse
) -> Iterator[str]:
    """Problems of payments and refunds without outcome, and of the provider's notifications."""
    payments, refunds = status.payments, status.refunds_waiting_for_provider
    if not status.provider_available:
        yield (
            f"{service}: the payment provider is unavailable: {payments.cause or refunds.cause};"
            f" without outcome: payments {payments.count}, refunds {refunds.count}"
        )
    else:
        for name, unsettled in (("payment", payments), ("refund", refunds)):
            if _is_old(unsettled.oldest_unknown_age):
                oldest = age(unsettled.oldest_unknown_age)
                yield (
                    f"{service}: oldest {name} with unknown outcome is {oldest} old:"
                    f" {unsettled.cause}"
                )
    if overdue := refunds.overdue_count + status.refunds_waiting_for_interview.overdue_count:
        yield f"{service}: overdue refunds: {overdue}; see refunds --overdue"
    if quarantined := status.quarantined_notification_count:
        oldest = age(status.oldest_quarantined_notification_age)
        yield (
            f"{service}: quarantined notifications of the provider: {quarantined},"
            f" the oldest {oldest} old; see payment-notifications --quarantined"
        )


def fallback_problems(
    service: str, status: interview_service_pb2.GetFallbackStatusResponse
) -> Iterator[str]:
    """Problems of the local cache."""
    if not status.available:
        since = timestamp(status.unavailable_since)
        yield f"{service}: the fallback is off{f' since {since}' if since else ''}: {status.reason}"


def _is_old(duration: Duration) -> bool:
    return duration.ToTimedelta() > _MAX_AGE
