"""Follows up refunds: repeats unanswered requests to interview, and reports overdue refunds."""

from datetime import timedelta

import structlog

from eventbus.errors import describe_error
from payment_svc.domain.refunds import Refund
from payment_svc.storage.unit_of_work import Database
from payment_svc.use_cases.refunds import RepeatRefundRequest, repeat_refund_request
from runtime.clock import utc_now
from runtime.metrics.registry import Metrics

_log = structlog.get_logger(__name__)
_LIMIT = 100


class RefundFollowup:
    """Repeats requests after `repeat_after`, reports refunds after `overdue_after`."""

    def __init__(
        self,
        database: Database,
        metrics: Metrics,
        repeat_after: timedelta,
        overdue_after: timedelta,
    ) -> None:
        self._database = database
        self._repeat_after, self._overdue_after = repeat_after, overdue_after
        description = f"Refunds without final outcome for too long (capped at {_LIMIT})."
        self._overdue = metrics.gauge("refunds_overdue", description)

    async def repeat_requests(self) -> None:
        """Repeats the requests that interview has not answered in time."""
        asked_before = utc_now() - self._repeat_after
        async with self._database.read_only() as uow:
            unanswered = await uow.refunds.find_unanswered(asked_before, _LIMIT)
        for refund in unanswered:
            try:
                await self._repeat(refund)
            except Exception as error:  # noqa: BLE001  the next round tries again
                _log.warning(
                    "refund request not repeated",
                    order_id=refund.order_id,
                    refund_id=refund.refund_id,
                    error=describe_error(error),
                )

    async def _repeat(self, refund: Refund) -> None:
        command = RepeatRefundRequest(refund.order_id, refund.refund_id, self._repeat_after)
        async with self._database.transaction() as uow:
            repeated = await repeat_refund_request(command, uow, clock=utc_now)
        if repeated is None:  # answered, or repeated by another replica
            return
        _log.info(
            "refund request repeated",
            order_id=refund.order_id,
            refund_id=refund.refund_id,
            asks=repeated.asks,
        )

    async def report_overdue(self) -> None:
        """Reports overdue refunds by log and metric; they need an operator."""
        async with self._database.read_only() as uow:
            overdue = await uow.refunds.find_open(utc_now() - self._overdue_after, _LIMIT)
        self._overdue.set(len(overdue))
        for refund in overdue:
            _log.error(
                "refund overdue",
                order_id=refund.order_id,
                refund_id=refund.refund_id,
                refund_status=refund.status,
                asks=refund.asks,
            )
