"""Follows up refunds: requests interview's answer again, and reports those that are overdue."""

from datetime import UTC, datetime, timedelta

import structlog

from eventbus.errors import describe_error
from payment_svc.domain.refunds import Refund
from payment_svc.storage.unit_of_work import Database
from payment_svc.use_cases.refunds import AskAgain, ask_again
from runtime.ops.metrics import Metrics

_log = structlog.get_logger(__name__)
_LIMIT = 100


class RefundFollowup:
    """Sees to it that no refund is forgotten."""

    def __init__(
        self, database: Database, metrics: Metrics, ask_seconds: float, overdue_seconds: float
    ) -> None:
        self._database, self._ask_after = database, timedelta(seconds=ask_seconds)
        self.overdue_after = timedelta(seconds=overdue_seconds)
        description = f"refunds without outcome for too long (capped at {_LIMIT})"
        self._overdue = metrics.gauge("refunds_overdue", description)

    async def request_answers(self) -> None:
        """Asks interview about the refunds that wait for its word too long."""
        asked_before = datetime.now(UTC) - self._ask_after
        async with self._database.read_only() as uow:
            waiting = await uow.refunds.unanswered(asked_before, _LIMIT)
        for refund in waiting:
            try:
                await self._ask(refund)
            except Exception as error:  # noqa: BLE001  the next round tries it again
                _log.warning(
                    "refund request not repeated",
                    order_id=refund.order_id,
                    refund_id=refund.refund_id,
                    error=describe_error(error),
                )

    async def _ask(self, refund: Refund) -> None:
        command = AskAgain(refund.order_id, refund.refund_id, self._ask_after)
        async with self._database.transaction() as uow:
            now = datetime.now(UTC)
            asked = await ask_again(command, uow, now=now)
        if asked.asked_at != now:  # its answer came, or another replica was faster
            return
        _log.info(
            "refund request repeated",
            order_id=refund.order_id,
            refund_id=refund.refund_id,
            asks=asked.asks,
        )

    async def report_overdue(self) -> None:
        """Tells operators of the refunds without outcome for longer than it should take."""
        async with self._database.read_only() as uow:
            overdue = await uow.refunds.open_since(datetime.now(UTC) - self.overdue_after, _LIMIT)
        self._overdue.set(len(overdue))
        for refund in overdue:
            _log.error(
                "refund overdue",
                order_id=refund.order_id,
                refund_id=refund.refund_id,
                refund_status=refund.status,
                asks=refund.asks,
            )
