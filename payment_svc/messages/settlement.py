"""Writes what is not settled as a message: payments and refunds with their causes."""

from payment.v1 import payment_service_pb2
from payment_svc.domain.settlement import SettlementStatus, Unsettled
from runtime.ops.messages import duration
from runtime.redaction import mask

_REPLY_LOST = "the provider's reply was lost"
_NOT_REPORTED = "the provider has not reported an outcome"
_NOT_ANSWERED = "interview has not replied"


def reply(
    status: SettlementStatus, provider_error: str
) -> payment_service_pb2.GetSettlementStatusResponse:
    """`provider_error` is that of the last request of this process, "" if the provider replied.

    It counts only while a reply is lost: another process may have received all of them since.
    """
    error = mask(provider_error) if status.has_lost_replies else ""
    return payment_service_pb2.GetSettlementStatusResponse(
        payments=_unsettled(status.payments, error or _cause(status.payments)),
        refunds_waiting_for_interview=_unsettled(
            status.refunds_waiting_for_interview, _NOT_ANSWERED
        ),
        refunds_waiting_for_provider=_unsettled(
            status.refunds_waiting_for_provider,
            error or _cause(status.refunds_waiting_for_provider),
        ),
        provider_available=not error,
        quarantined_notification_count=status.notifications.count,
        oldest_quarantined_notification_age=duration(status.notifications.oldest_seconds),
    )


def _cause(unsettled: Unsettled) -> str:
    return _REPLY_LOST if unsettled.unknown else _NOT_REPORTED


def _unsettled(unsettled: Unsettled, cause: str) -> payment_service_pb2.Unsettled:
    return payment_service_pb2.Unsettled(
        count=unsettled.count,
        oldest_age=duration(unsettled.oldest_seconds),
        unknown_count=unsettled.unknown,
        oldest_unknown_age=duration(unsettled.oldest_unknown_seconds),
        overdue_count=unsettled.overdue,
        cause=cause if unsettled.count else "",
    )
