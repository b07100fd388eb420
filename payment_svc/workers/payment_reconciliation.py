"""Queries the provider for the outcome of open payments."""

import asyncio
from datetime import timedelta

import structlog

from eventbus.errors import describe_error
from payment_svc.domain.payments import Payment
from payment_svc.storage.unit_of_work import Database
from payment_svc.workflows.payments import PaymentWorkflow

_log = structlog.get_logger(__name__)
# Concurrent requests to the provider; fewer than the database has connections.
_CONCURRENCY = 5


class PaymentReconciliation:
    """Resumes open payments. Replicas share the work."""

    def __init__(
        self, database: Database, payments: PaymentWorkflow, retry_after_seconds: float
    ) -> None:
        """One payment is queried every `retry_after_seconds` at most."""
        self._database, self._payments = database, payments
        self._retry_after = timedelta(seconds=retry_after_seconds)

    async def process_due(self) -> bool:
        """Resumes some of the due payments; False if none was due.

        A slow or failing payment delays only those of its own batch.
        """
        async with self._database.transaction() as uow:
            due = await uow.payments.take_due(self._retry_after, _CONCURRENCY)
        await asyncio.gather(*map(self._resume, due))
        return bool(due)

    async def _resume(self, payment: Payment) -> None:
        try:
            await self._payments.resume(payment)
        except Exception as error:  # noqa: BLE001  it is due again after the pause
            _log.warning(
                "payment not settled",
                payment_id=payment.payment_id,
                order_id=payment.order_id,
                error=describe_error(error),
            )
