"""Compares interview's half with the shared table of codes, and mends what has drifted apart.

What is just under way is no drift: it is gone at the second look, which waits until everything is
handled that payment had committed by the first. It doesn't wait for long: while events are held up,
what they bring counts as drift. The table only shows that something is wrong; what is right comes
from payment by query, and takes the way that an event would take.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TypeVar

import structlog

from interview_svc.domain.cached_code import CodeUpdate
from interview_svc.domain.drifts import MENDED_BY_RECORD, Drift, DriftKind
from interview_svc.domain.questions import QuestionBank
from interview_svc.storage.unit_of_work import Database
from interview_svc.use_cases.code_updates import (
    bind_sessions,
    correct_records,
    delete_stale_sessions,
    delete_unknown_orders,
)
from interview_svc.use_cases.interviews import announce_starts_again
from interview_svc.use_cases.ports import Preparation
from interview_svc.use_cases.validation import AccessCodes
from runtime.ids import new_id

T = TypeVar("T")
_log = structlog.get_logger(__name__)
MOST_DRIFTS = 1000
_BATCH = 100
_ASKED_AT_ONCE = 16
_PATIENCE_SECONDS = 8.0
_LOOK_SECONDS = 0.2
# payment may be away for long; until then it isn't told over and over.
_ANNOUNCE_PAUSE = timedelta(minutes=10)


@dataclass(frozen=True, slots=True)
class Report:
    """What a comparison found, as of a moment of the database's clock."""

    drifts: Sequence[Drift]
    compared_count: int
    as_of: datetime


@dataclass(frozen=True, slots=True)
class _Scope:
    """What is compared: everything, or one order and the code that payment names for it."""

    order_id: str = ""
    access_code_id: str = ""


class CodeReconciliation:
    """Compares and mends. Replicas may do it at once: what one mended the other finds mended."""

    def __init__(
        self,
        database: Database,
        codes: AccessCodes,
        update_watermark: Callable[[], Awaitable[None]],
        bank: QuestionBank,
    ) -> None:
        self._database, self._codes, self._update_watermark = database, codes, update_watermark
        self._bank = bank
        self._stopping = asyncio.Event()

    def stop(self) -> None:
        """Waits for nothing any more."""
        self._stopping.set()

    async def check(
        self,
        *,
        repair: bool,
        order_id: str = "",
        found: Callable[[Report], None] = lambda _: None,
    ) -> Report:
        """Compares, looks again at what differs, and mends it if asked to.

        `found` hears what differs before it is mended. Raises PaymentUnavailable if payment has to
        be asked and can't be; what was found is in the log then too.
        """
        scope = _Scope(order_id, await self._code_of(order_id) if order_id else "")
        report = await self._look(scope)
        if report.drifts:
            suspected = set(report.drifts)
            await self._catch_up(report.as_of)
            report = await self._look(scope)
            report = replace(report, drifts=[one for one in report.drifts if one in suspected])
        found(report)
        try:
            if repair and report.drifts:
                report = replace(report, drifts=await self._repair(report.drifts, scope))
        finally:
            for drift in report.drifts:
                _tell(drift)
        return report

    async def warm_up(self) -> bool:
        """Takes in what payment had before we listened.

        False if that was done before, or if it was stopped: then the next start goes on with it.
        """
        async with self._database.read_only() as uow:
            if await uow.watermarks.warmed_up():
                return False
        _log.info("warming up")
        while True:
            report = await self.check(repair=True)
            if self._stopping.is_set():
                return False
            repaired = [drift for drift in report.drifts if drift.repaired]
            if len(report.drifts) < MOST_DRIFTS or not repaired:
                break
        async with self._database.transaction() as uow:
            await uow.watermarks.note_warm_up()
        _log.info("warmed up", compared_count=report.compared_count)
        return True

    async def _code_of(self, order_id: str) -> str:
        """The code that payment has for an order of which we have no session."""
        async with self._database.read_only() as uow:
            if await uow.sessions.exists(order_id):
                return ""
        told = await self._codes.record(order_id=order_id)
        return told.record.access_code_id if told else ""

    async def _look(self, scope: _Scope) -> Report:
        where = scope.order_id, scope.access_code_id
        async with self._database.read_only() as uow:
            drifts = await uow.drifts.find(*where, MOST_DRIFTS)
            count = await uow.drifts.compared_count(*where)
            # Last: whatever was seen had been committed by then.
            return Report(drifts, count, await uow.drifts.clock())

    async def _catch_up(self, moment: datetime) -> None:
        """Waits until all is handled that payment committed before `moment`, or for a while."""
        deadline = asyncio.get_running_loop().time() + _PATIENCE_SECONDS
        while asyncio.get_running_loop().time() < deadline and not self._stopping.is_set():
            await self._update_watermark()
            async with self._database.read_only() as uow:
                covered = await uow.watermarks.covered_as_of()
            if covered and covered >= moment:
                return
            await asyncio.sleep(_LOOK_SECONDS)

    async def _repair(self, drifts: Sequence[Drift], scope: _Scope) -> Sequence[Drift]:
        """Mends what can be; the same drifts, each with what became of it."""
        async with self._database.read_only() as uow:
            known = await uow.entries.versions([drift.order_id for drift in drifts])
        answers = await self._ask([one for one in drifts if one.kind in MENDED_BY_RECORD])
        await self._take_in([heard for heard in answers.values() if heard], known, drifts)
        await self._forget(
            [drift.order_id for drift in drifts if drift.code_missing and drift.order_id],
            answers,
        )
        unredeemed = [one for one in drifts if one.kind is DriftKind.STARTED_NOT_REDEEMED]
        announced = await self._announce([drift.order_id for drift in unredeemed])
        left = {drift.about for drift in (await self._look(scope)).drifts}
        told = {drift.about for drift in unredeemed if drift.order_id in announced}
        return [replace(drift, repaired=drift.about not in left - told) for drift in drifts]

    async def _ask(self, drifts: Sequence[Drift]) -> dict[str, CodeUpdate | None]:
        """What payment answers, by order or, where that isn't known, by code."""
        names = {
            drift.order_id or drift.access_code_id: {"order_id": drift.order_id}
            if drift.order_id
            else {"access_code_id": drift.access_code_id}
            for drift in drifts
        }
        limit = asyncio.Semaphore(_ASKED_AT_ONCE)

        async def ask(name: dict[str, str]) -> CodeUpdate | None:
            async with limit:
                return await self._codes.record(**name)

        answers = await asyncio.gather(*(ask(name) for name in names.values()))
        return dict(zip(names, answers, strict=True))

    async def _take_in(
        self, told: Sequence[CodeUpdate], known: Mapping[str, int], drifts: Sequence[Drift]
    ) -> None:
        unbound = _orders_of(drifts, DriftKind.SESSION_WITHOUT_CODE)
        unserved = _orders_of(drifts, DriftKind.CODE_WITHOUT_SESSION)
        by_order = {heard.record.order_id: heard for heard in told}
        for batch in _batches(list(by_order.values())):
            preparation = Preparation(self._bank, lambda: new_id("ses"), datetime.now(UTC))
            orders = unbound & {heard.record.order_id for heard in batch}
            without = [heard for heard in batch if heard.record.order_id in unserved]
            async with self._database.transaction() as uow:
                await delete_stale_sessions(without, uow, now=preparation.now)
                await correct_records(batch, known, uow, preparation=preparation)
                await bind_sessions(sorted(orders), uow)

    async def _forget(
        self, order_ids: Sequence[str], answers: dict[str, CodeUpdate | None]
    ) -> None:
        unknown = sorted({one for one in order_ids if one in answers and answers[one] is None})
        for batch in _batches(unknown):
            async with self._database.transaction() as uow:
                await delete_unknown_orders(batch, uow, now=datetime.now(UTC))

    async def _announce(self, order_ids: Sequence[str]) -> set[str]:
        """The orders whose start was said again; payment was told of the others lately."""
        announced: set[str] = set()
        for batch in _batches(sorted(order_ids)):
            async with self._database.transaction() as uow:
                announced |= await announce_starts_again(
                    batch, uow, now=datetime.now(UTC), pause=_ANNOUNCE_PAUSE
                )
        return announced


def _batches(items: Sequence[T]) -> list[Sequence[T]]:
    return [items[start : start + _BATCH] for start in range(0, len(items), _BATCH)]


def _orders_of(drifts: Sequence[Drift], kind: DriftKind) -> set[str]:
    return {drift.order_id for drift in drifts if drift.kind is kind}


def _tell(drift: Drift) -> None:
    told = {
        "kind": drift.kind,
        "order_id": drift.order_id,
        "access_code_id": drift.access_code_id,
        "session_id": drift.session_id,
        "detail": drift.detail,
    }
    if drift.repaired:
        _log.info("drift repaired", **told)
    else:
        _log.warning("drift found", **told)
