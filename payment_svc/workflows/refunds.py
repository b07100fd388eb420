"""Giving money back, across transactions: the provider is never called inside one.

A refund is committed before the provider is asked, under an id that is the provider's idempotency
key. It is asked until the outcome is known; a crash or a second replica asks once more, and nothing
is paid twice. A full refund goes to the provider only after interview's word, which is asked for
until it comes.
"""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Protocol

import structlog

from eventbus.errors import describe_error
from payment_svc.domain.refunds import Refund, RefundOutcome
from payment_svc.storage.unit_of_work import Database
from payment_svc.use_cases.refunds import SettleRefund, settle_refund

_log = structlog.get_logger(__name__)
# Concurrent requests to the provider; fewer than the database has connections.
_CONCURRENCY = 5


class RefundGateway(Protocol):
    """Pays back."""

    async def refund(self, refund: Refund) -> RefundOutcome:
        """Pays back, or finds it paid back: the refund's id is the key."""


class RefundWorkflow:
    """Takes released refunds to the provider until their outcome is known."""

    def __init__(
        self, database: Database, gateway: RefundGateway, retry_after_seconds: float
    ) -> None:
        """One refund is asked about every `retry_after_seconds`."""
        self._database, self._gateway = database, gateway
        self._retry_after = timedelta(seconds=retry_after_seconds)

    async def process_due(self) -> bool:
        """Takes some of the due refunds to the provider; False if none was due."""
        async with self._database.transaction() as uow:
            due = await uow.refunds.take_due(self._retry_after, _CONCURRENCY)
        await asyncio.gather(*map(self._pay_back, due))
        return bool(due)

    async def _pay_back(self, refund: Refund) -> None:
        subject = {"order_id": refund.order_id, "refund_id": refund.refund_id}
        try:
            outcome = await self._gateway.refund(refund)
            command = SettleRefund(refund.order_id, refund.refund_id, outcome)
            async with self._database.transaction() as uow:
                settled = await settle_refund(command, uow, now=datetime.now(UTC))
        except Exception as error:  # noqa: BLE001  it keeps no other waiting, and comes again
            _log.warning("refund not settled", **subject, error=describe_error(error))
        else:
            _log.info("refund asked for", **subject, refund_status=settled.status)
