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
from payment_svc.use_cases.refunds import AskAgain, SettleRefund, ask_again, settle_refund
from runtime.ops.metrics import Metrics

_log = structlog.get_logger(__name__)
# As many go to the provider at once; fewer than the database has connections.
_AT_ONCE = 5
_MOST = 100


class RefundGateway(Protocol):
    """Pays back."""

    async def refund(self, refund: Refund) -> RefundOutcome:
        """Pays back, or finds it paid back: the refund's id is the key."""


class RefundWorkflow:
    """Takes released refunds to the provider until their outcome is known."""

    def __init__(
        self,
        database: Database,
        gateway: RefundGateway,
        look_seconds: float,
        pause_seconds: float,
    ) -> None:
        """Looks every `look_seconds`, and asks about one refund every `pause_seconds`."""
        self._database, self._gateway = database, gateway
        self._look_seconds, self._pause = look_seconds, timedelta(seconds=pause_seconds)
        self._woken = asyncio.Event()
        self._stopped = False

    def wake(self) -> None:
        """A refund may have been released: looks at once."""
        self._woken.set()

    def stop(self) -> None:
        """Ends `run` after the refunds in hand."""
        self._stopped = True
        self._woken.set()

    async def run(self) -> None:
        """Works until stopped; outlives outages of the provider and the database."""
        while not self._stopped:
            self._woken.clear()
            try:
                await self.work_off()
            except Exception as error:  # noqa: BLE001  the next round does it
                _log.warning("refunding waits", error=describe_error(error))
            try:
                await asyncio.wait_for(self._woken.wait(), self._look_seconds)
            except TimeoutError:
                continue

    async def work_off(self) -> None:
        """Takes what is due to the provider."""
        while not self._stopped:
            async with self._database.transaction() as uow:
                due = await uow.refunds.take_due(self._pause, _AT_ONCE)
            if not due:
                return
            await asyncio.gather(*map(self._pay_back, due))

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


class RefundFollowup:
    """Sees to it that no refund is forgotten."""

    def __init__(
        self, database: Database, metrics: Metrics, ask_seconds: float, overdue_seconds: float
    ) -> None:
        self._database, self._ask_after = database, timedelta(seconds=ask_seconds)
        self.overdue_after = timedelta(seconds=overdue_seconds)
        what = f"refunds without outcome for too long, {_MOST} at most"
        self._hanging = metrics.gauge("refunds_overdue", what)

    async def ask_again(self) -> None:
        """Asks interview about the refunds that wait for its word too long."""
        asked_before = datetime.now(UTC) - self._ask_after
        async with self._database.read_only() as uow:
            waiting = await uow.refunds.unanswered(asked_before, _MOST)
        for refund in waiting:
            try:
                await self._ask(refund)
            except Exception as error:  # noqa: BLE001  the next round tries it again
                _log.warning(
                    "interview not asked again",
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
            "interview asked again",
            order_id=refund.order_id,
            refund_id=refund.refund_id,
            asks=asked.asks,
        )

    async def report(self) -> None:
        """Tells operators of the refunds without outcome for longer than it should take."""
        async with self._database.read_only() as uow:
            hanging = await uow.refunds.open_since(datetime.now(UTC) - self.overdue_after, _MOST)
        self._hanging.set(len(hanging))
        for refund in hanging:
            _log.error(
                "refund hangs",
                order_id=refund.order_id,
                refund_id=refund.refund_id,
                refund_status=refund.status,
                asks=refund.asks,
            )
