"""The refund saga: submits released refunds to the provider and settles them.

A refund is committed before the provider is called; its id is the provider's idempotency key. It
is submitted until its outcome is final. A crash or a second replica submits it once more, and
nothing is paid twice. A full refund is submitted only after interview's answer, which is requested
until it arrives.
"""

import asyncio
from datetime import timedelta
from typing import Protocol

import structlog

from eventbus.errors import describe_error
from payment_svc.domain.refunds import Refund, RefundOutcome, RefundOutcomeUnknown
from payment_svc.storage.unit_of_work import Database
from payment_svc.use_cases.refunds import SettleRefund, settle_refund
from runtime.clock import utc_now

_log = structlog.get_logger(__name__)
# Concurrent requests to the provider; fewer than the database has connections.
_CONCURRENCY = 5


class RefundGateway(Protocol):
    """The part of the payment gateway that pays refunds."""

    async def create_refund(self, refund: Refund) -> RefundOutcome:
        """Creates the refund or returns the existing one; the refund's id is the key."""


class RefundWorkflow:
    """Submits released refunds until their outcome is final."""

    def __init__(
        self, database: Database, gateway: RefundGateway, retry_after_seconds: float
    ) -> None:
        """One refund is submitted every `retry_after_seconds` at most."""
        self._database, self._gateway = database, gateway
        self._retry_after = timedelta(seconds=retry_after_seconds)

    async def process_due(self) -> bool:
        """Submits some of the due refunds; False if none was due."""
        async with self._database.transaction() as uow:
            due = await uow.refunds.take_due(self._retry_after, _CONCURRENCY)
        await asyncio.gather(*map(self._submit, due))
        return bool(due)

    async def _submit(self, refund: Refund) -> None:
        ids = {"order_id": refund.order_id, "refund_id": refund.refund_id}
        try:
            outcome = await self._gateway.create_refund(refund)
            command = SettleRefund(refund.order_id, refund.refund_id, outcome)
            async with self._database.transaction() as uow:
                settled = await settle_refund(command, uow, clock=utc_now)
        except Exception as error:  # noqa: BLE001  it delays no other refund and is due again
            _log.warning("refund not settled", **ids, error=describe_error(error))
            return
        if isinstance(outcome, RefundOutcomeUnknown) and not settled.final:
            _log.warning("refund outcome unknown", **ids, cause=outcome.cause)
        else:
            _log.info("refund submitted", **ids, refund_status=settled.status)
