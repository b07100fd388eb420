"""Compares interview's data with the shared table of access codes, and repairs what has drifted.

Changes in flight are no drifts: a difference counts only if a second comparison finds it again,
after everything that payment had committed by the first one is handled. The wait is bounded: while
the consumer is blocked, the changes it has not handled count as drifts.

The shared table only detects drifts. A repair takes payment's record from a query and applies it in
the same way as an event.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import structlog

from interview_svc.domain.cached_code import CodeUpdate
from interview_svc.domain.drifts import REPAIRED_BY_RECORD, Drift, DriftKind, DriftScope
from interview_svc.domain.session_factory import SessionFactory
from interview_svc.storage.drifts import SqlDrifts
from interview_svc.storage.unit_of_work import Database
from interview_svc.use_cases.code_updates import (
    correct_cached_codes,
    delete_stale_sessions,
    delete_unknown_orders,
    rebind_sessions,
)
from interview_svc.use_cases.code_validation import AccessCodes
from interview_svc.use_cases.sessions import reannounce_starts
from runtime.batches import batches
from runtime.clock import utc_now

_log = structlog.get_logger(__name__)
MAX_DRIFTS = 1000
_BATCH_SIZE = 100
_COMPARED_AT_ONCE = 1000
_MAX_CONCURRENT_QUERIES = 16
_CATCH_UP_SECONDS = 8.0
_POLL_SECONDS = 0.2
# An outage of payment can be long: InterviewStarted is not repeated in every round of it.
_REANNOUNCE_INTERVAL = timedelta(minutes=10)


@dataclass(frozen=True, slots=True)
class Report:
    """The result of a comparison; `as_of` is a time of the database's clock."""

    drifts: Sequence[Drift]
    compared_count: int
    as_of: datetime


class CodeReconciliation:
    """Compares and repairs. Replicas may run it concurrently: repairs are idempotent."""

    def __init__(
        self,
        database: Database,
        codes: AccessCodes,
        update_watermark: Callable[[], Awaitable[None]],
        factory: SessionFactory,
    ) -> None:
        self._database, self._codes, self._update_watermark = database, codes, update_watermark
        self._factory = factory
        self._stopping = asyncio.Event()

    def stop(self) -> None:
        """Ends all waiting and the warm-up soon."""
        self._stopping.set()

    async def check(
        self,
        *,
        repair: bool,
        order_id: str = "",
        on_found: Callable[[Report], None] = lambda _: None,
    ) -> Report:
        """Compares everything, or one order and the code that payment has for it: `check_scope`."""
        scope = DriftScope([order_id], await self._access_code_ids(order_id)) if order_id else None
        return await self.check_scope(scope, repair=repair, on_found=on_found)

    async def check_scope(
        self,
        scope: DriftScope | None,
        *,
        repair: bool,
        on_found: Callable[[Report], None] = lambda _: None,
    ) -> Report:
        """Compares twice and, with `repair`, repairs the drifts found both times.

        What had no drift is not compared again. `on_found` gets the drifts before the repair.
        Raises PaymentUnavailable if payment has to be queried and cannot be; the drifts are logged
        in that case too.
        """
        report = await self._compare(scope)
        if report.drifts:
            await self._wait_until_handled(report.as_of)
            second = await self._compare(_scope_of(report.drifts))
            first = set(report.drifts)
            found = [drift for drift in second.drifts if drift in first]
            report = Report(found, report.compared_count, second.as_of)
        on_found(report)
        try:
            if repair and report.drifts:
                report = replace(report, drifts=await self._repair(report.drifts))
        finally:
            for drift in report.drifts:
                _log_drift(drift)
        return report

    async def warm_up(self) -> bool:
        """Fills the cache with the codes that payment issued before interview consumed its events.

        Returns False if that was done before, or if it was stopped: then the next start of the
        service continues.
        """
        async with self._database.read_only() as uow:
            if await uow.watermarks.is_warmed_up():
                return False
        _log.info("cache warm-up started")
        while True:
            report = await self.check(repair=True)
            if self._stopping.is_set():
                return False
            repaired = [drift for drift in report.drifts if drift.repaired]
            if len(report.drifts) < MAX_DRIFTS or not repaired:
                break
        async with self._database.transaction() as uow:
            await uow.watermarks.set_warmed_up()
        _log.info("cache warm-up finished", compared_count=report.compared_count)
        return True

    async def _access_code_ids(self, order_id: str) -> Sequence[str]:
        """The code that payment has for an order without a session; none with a session."""
        async with self._database.read_only() as uow:
            if await uow.sessions.exists(order_id):
                return ()
        update = await self._codes.get_update(order_id=order_id)
        return (update.record.access_code_id,) if update else ()

    async def _compare(self, scope: DriftScope | None) -> Report:
        """The first drifts of a scope and of its orders' codes, or of everything (None)."""
        drifts: dict[Drift, None] = {}
        count = 0
        async with self._database.read_only() as uow:
            parts = _parts(scope, uow.drifts) if scope else _everything(uow.drifts)
            async for part in parts:
                found = await uow.drifts.compare(part, MAX_DRIFTS - len(drifts))
                drifts |= dict.fromkeys(found)
                count += await uow.drifts.compared_count(part)
                if len(drifts) == MAX_DRIFTS:
                    break
            # Read last: everything that the queries saw was committed before it.
            return Report(list(drifts), count, await uow.drifts.clock())

    async def _wait_until_handled(self, moment: datetime) -> None:
        """Waits until all events that payment committed before `moment` are handled, or a limit."""
        deadline = asyncio.get_running_loop().time() + _CATCH_UP_SECONDS
        while asyncio.get_running_loop().time() < deadline and not self._stopping.is_set():
            await self._update_watermark()
            async with self._database.read_only() as uow:
                covered = await uow.watermarks.covered_as_of()
            if covered and covered >= moment:
                return
            await asyncio.sleep(_POLL_SECONDS)

    async def _repair(self, drifts: Sequence[Drift]) -> Sequence[Drift]:
        """Repairs what can be repaired; returns the drifts with `repaired` set."""
        async with self._database.read_only() as uow:
            versions = await uow.cached_codes.versions([drift.order_id for drift in drifts])
        replies = await self._query([drift for drift in drifts if drift.kind in REPAIRED_BY_RECORD])
        updates = [update for update in replies.values() if update]
        await self._apply(updates, versions, drifts)
        await self._delete_unknown(
            [drift.order_id for drift in drifts if drift.code_missing and drift.order_id],
            replies,
        )
        unredeemed = [drift for drift in drifts if drift.kind is DriftKind.STARTED_NOT_REDEEMED]
        announced = await self._reannounce([drift.order_id for drift in unredeemed])
        remaining = {drift.key for drift in (await self._compare(_scope_of(drifts))).drifts}
        # These are repaired when payment handles the event.
        remaining -= {drift.key for drift in unredeemed if drift.order_id in announced}
        return [replace(drift, repaired=drift.key not in remaining) for drift in drifts]

    async def _query(self, drifts: Sequence[Drift]) -> dict[str, CodeUpdate | None]:
        """Queries payment; returns replies by order id or, without one, by access code id."""
        keys = {
            drift.order_id or drift.access_code_id: {"order_id": drift.order_id}
            if drift.order_id
            else {"access_code_id": drift.access_code_id}
            for drift in drifts
        }
        limit = asyncio.Semaphore(_MAX_CONCURRENT_QUERIES)

        async def query(key: dict[str, str]) -> CodeUpdate | None:
            async with limit:
                return await self._codes.get_update(**key)

        replies = await asyncio.gather(*(query(key) for key in keys.values()))
        return dict(zip(keys, replies, strict=True))

    async def _apply(
        self,
        updates: Sequence[CodeUpdate],
        queried_versions: Mapping[str, int],
        drifts: Sequence[Drift],
    ) -> None:
        unbound = _order_ids(drifts, DriftKind.SESSION_WITHOUT_CODE)
        without_session = _order_ids(drifts, DriftKind.CODE_WITHOUT_SESSION)
        by_order = {update.record.order_id: update for update in updates}
        for batch in batches(list(by_order.values()), _BATCH_SIZE):
            rebound = unbound & {update.record.order_id for update in batch}
            missing = [update for update in batch if update.record.order_id in without_session]
            async with self._database.transaction() as uow:
                await delete_stale_sessions(missing, uow, now=utc_now())
                await correct_cached_codes(
                    batch, queried_versions, uow, factory=self._factory, clock=utc_now
                )
                await rebind_sessions(sorted(rebound), uow)

    async def _delete_unknown(
        self, order_ids: Sequence[str], replies: Mapping[str, CodeUpdate | None]
    ) -> None:
        """Deletes the orders for which payment replied that it has no code."""
        unknown = {
            order_id for order_id in order_ids if order_id in replies and replies[order_id] is None
        }
        for batch in batches(sorted(unknown), _BATCH_SIZE):
            async with self._database.transaction() as uow:
                await delete_unknown_orders(batch, uow, clock=utc_now)

    async def _reannounce(self, order_ids: Sequence[str]) -> set[str]:
        """Publishes InterviewStarted again; returns the orders for which it was due."""
        announced: set[str] = set()
        for batch in batches(sorted(order_ids), _BATCH_SIZE):
            async with self._database.transaction() as uow:
                announced |= await reannounce_starts(
                    batch, uow, clock=utc_now, interval=_REANNOUNCE_INTERVAL
                )
        return announced


def _scope_of(drifts: Sequence[Drift]) -> DriftScope:
    order_ids = {drift.order_id for drift in drifts if drift.order_id}
    access_code_ids = {drift.access_code_id for drift in drifts if drift.access_code_id}
    return DriftScope(sorted(order_ids), sorted(access_code_ids))


async def _parts(scope: DriftScope, drifts: SqlDrifts) -> AsyncIterator[DriftScope]:
    """A scope in parts of limited size, the orders with their codes."""
    named = set(scope.access_code_ids)
    for order_ids in batches(sorted(scope.order_ids), _COMPARED_AT_ONCE):
        codes = set(await drifts.codes_of(order_ids))
        named -= codes
        yield DriftScope(order_ids, sorted(codes))
    for access_code_ids in batches(sorted(named), _COMPARED_AT_ONCE):
        yield DriftScope((), access_code_ids)


async def _everything(drifts: SqlDrifts) -> AsyncIterator[DriftScope]:
    """All orders that interview knows, and all codes of payment."""
    async for order_ids in _pages(drifts.all_order_ids):
        yield DriftScope(order_ids)
    async for access_code_ids in _pages(drifts.all_access_code_ids):
        yield DriftScope((), access_code_ids)


async def _pages(
    page_after: Callable[[str, int], Awaitable[Sequence[str]]],
) -> AsyncIterator[Sequence[str]]:
    last = ""
    while page := await page_after(last, _COMPARED_AT_ONCE):
        yield page
        last = page[-1]


def _order_ids(drifts: Sequence[Drift], kind: DriftKind) -> set[str]:
    return {drift.order_id for drift in drifts if drift.kind is kind}


def _log_drift(drift: Drift) -> None:
    fields = {
        "kind": drift.kind,
        "order_id": drift.order_id,
        "access_code_id": drift.access_code_id,
        "session_id": drift.session_id,
        "detail": drift.detail,
    }
    if drift.repaired:
        _log.info("drift repaired", **fields)
    else:
        _log.warning("drift found", **fields)
