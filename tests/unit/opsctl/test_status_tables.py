"""The rows of `opsctl status`."""

import io
from datetime import timedelta

from google.protobuf.duration_pb2 import Duration
from rich.console import Console

from notification.v1 import notification_service_pb2
from opsctl.status_tables import domain_table
from payment.v1 import payment_service_pb2


def hours(number: float) -> Duration:
    duration = Duration()
    duration.FromTimedelta(timedelta(hours=number))
    return duration


def cells(
    mails: notification_service_pb2.GetMailStatusResponse | None = None,
    settlement: payment_service_pb2.GetSettlementStatusResponse | None = None,
) -> list[list[str]]:
    out = io.StringIO()
    Console(file=out, width=200).print(domain_table(mails, settlement, None))
    return [
        [cell.strip() for cell in line.split("│")[1:-1]]
        for line in out.getvalue().splitlines()
        if line.startswith("│")
    ]


def test_queued_and_deferred_mails_have_ages_of_their_own() -> None:
    status = notification_service_pb2.GetMailStatusResponse(
        queued_count=1,
        sending_count=2,
        deferred_count=4,
        oldest_waiting_age=hours(3),
        oldest_queued_age=hours(1),
        oldest_deferred_age=hours(3),
        last_error="451 later",
    )
    assert cells(mails=status)[:2] == [
        ["notification", "mails queued", "3", "1.0h", ""],
        ["notification", "mails deferred", "4", "3.0h", "451 later"],
    ]


def test_quarantined_notifications_are_counted_with_the_age_of_the_oldest() -> None:
    status = payment_service_pb2.GetSettlementStatusResponse(
        quarantined_notification_count=2, oldest_quarantined_notification_age=hours(2)
    )
    assert ["payment", "notifications quarantined", "2", "2.0h", ""] in cells(settlement=status)
