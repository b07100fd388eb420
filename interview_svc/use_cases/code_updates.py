"""Applies payment's records of access codes to the cached codes and to their sessions.

Every event with a record is applied by `apply_code_updates`, and every repair takes the same path:
the cached code keeps the newest record and the order's session follows it, in one transaction.
Cached codes are locked before sessions, and both in the order of their order ids.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from interview_svc.domain.cached_code import CachedCode, CodeUpdate
from interview_svc.domain.session_factory import SessionFactory
from interview_svc.domain.sessions import Session
from interview_svc.use_cases.ports import Clock, UnitOfWork


@dataclass(frozen=True, slots=True)
class RefundRequest:
    """A refund that waits for the reply whether its order's interview has started."""

    update: CodeUpdate
    refund_id: str


@dataclass(frozen=True, slots=True)
class UseRejection:
    """payment's rejection of the use of a code that started a session."""

    update: CodeUpdate
    session_id: str


@dataclass(frozen=True, slots=True)
class _Orders:
    """Locked cached codes and sessions, by order; `changed` are the sessions still to be saved."""

    cached_codes: dict[str, CachedCode]
    sessions: dict[str, Session]
    changed: dict[str, Session]


async def apply_code_updates(
    updates: Sequence[CodeUpdate], uow: UnitOfWork, *, factory: SessionFactory, clock: Clock
) -> None:
    """Applies newer records to the cached codes and their sessions; at most one per order."""
    orders = await _sync_sessions(updates, uow, factory, clock, CachedCode.apply)
    await uow.sessions.save_many(list(orders.changed.values()))


async def correct_cached_codes(
    updates: Sequence[CodeUpdate],
    queried_versions: Mapping[str, int],
    uow: UnitOfWork,
    *,
    factory: SessionFactory,
    clock: Clock,
) -> None:
    """Applies payment's replies to queries: they also replace records of the same version.

    `queried_versions` are the cached versions before the query, by order.
    """

    def correct(cached: CachedCode, update: CodeUpdate) -> bool:
        return cached.correct(update, queried_versions.get(update.record.order_id, 0))

    orders = await _sync_sessions(updates, uow, factory, clock, correct)
    await uow.sessions.save_many(list(orders.changed.values()))


async def delete_stale_sessions(
    updates: Sequence[CodeUpdate], uow: UnitOfWork, *, now: datetime
) -> None:
    """Deletes sessions that ended before their start although their order's code is live.

    An order has one session: the ended one prevents the preparation of another.
    """
    live = [update.record.order_id for update in updates if update.record.is_live(now)]
    await uow.cached_codes.get_many(live)
    sessions = await uow.sessions.get_many(live)
    stale = [
        session.session_id
        for session in sessions.values()
        if not session.is_open and not session.was_started
    ]
    await uow.sessions.delete_many(stale)


async def rebind_sessions(order_ids: Sequence[str], uow: UnitOfWork) -> None:
    """Binds the sessions of orders to their cached codes."""
    cached_codes = await uow.cached_codes.get_many(order_ids)
    sessions = await uow.sessions.get_many(list(cached_codes))
    for order_id, session in sessions.items():
        session.bind(cached_codes[order_id].record.access_code_id)
    await uow.sessions.save_many(list(sessions.values()))


async def answer_refund_requests(
    requests: Sequence[RefundRequest], uow: UnitOfWork, *, factory: SessionFactory, clock: Clock
) -> None:
    """Answers each refund request with InterviewStarted or SessionWithheld.

    A start that was reverted counts as no start, also if the session was cancelled on request or
    expired before: a customer without an interview gets the refund.

    A request whose cached code is ACTIVE again gets no answer: a newer event has ended that refund,
    and nothing prevents the session's start.
    """
    updates = [request.update for request in requests]
    orders = await _sync_sessions(updates, uow, factory, clock, CachedCode.apply)
    now = clock()
    for request in requests:
        cached = orders.cached_codes[request.update.record.order_id]
        session = orders.sessions.get(request.update.record.order_id)
        if not cached.prevents_start:
            continue
        if session and session.was_started and not session.start_reverted:
            session.confirm_started_for_refund(request.refund_id, now)
            orders.changed[session.order_id] = session
        else:
            session_id = session.session_id if session else ""
            cached.confirm_withheld_for_refund(request.refund_id, session_id, now)
    await uow.cached_codes.save_many(
        [cached for cached in orders.cached_codes.values() if cached.events]
    )
    await uow.sessions.save_many(list(orders.changed.values()))


async def apply_use_rejections(
    rejections: Sequence[UseRejection], uow: UnitOfWork, *, factory: SessionFactory, clock: Clock
) -> Sequence[Session]:
    """Reverts the starts that payment rejected; returns the sessions that are completed already."""
    updates = [rejection.update for rejection in rejections]
    orders = await _sync_sessions(updates, uow, factory, clock, CachedCode.apply)
    now = clock()
    session_ids = {rejection.session_id for rejection in rejections}
    rejected = [
        session for session in orders.sessions.values() if session.session_id in session_ids
    ]
    for session in rejected:
        session.reject_use(now)
        orders.changed[session.order_id] = session
    await uow.sessions.save_many(list(orders.changed.values()))
    return [session for session in rejected if session.used_without_right]


async def delete_unknown_orders(order_ids: Sequence[str], uow: UnitOfWork, *, clock: Clock) -> None:
    """Deletes the cached codes of orders without a code in payment; cancels their open sessions."""
    await uow.cached_codes.get_many(order_ids)
    sessions = await uow.sessions.get_many(order_ids)
    unfinished = [session for session in sessions.values() if session.is_open]
    now = clock()
    for session in unfinished:
        session.cancel_orphaned(now)
    await uow.sessions.save_many(unfinished)
    await uow.cached_codes.delete_many(order_ids)


async def _sync_sessions(
    updates: Sequence[CodeUpdate],
    uow: UnitOfWork,
    factory: SessionFactory,
    clock: Clock,
    merge: Callable[[CachedCode, CodeUpdate], bool],
) -> _Orders:
    """Updates the cached codes, syncs existing sessions and adds missing ones.

    Changed sessions are not saved yet.
    """
    cached_codes = await _upsert_cache(updates, uow, merge)
    sessions = await uow.sessions.get_many(list(cached_codes))
    now = clock()
    changed = {
        order_id: session
        for order_id, session in sessions.items()
        if session.sync_with_code(cached_codes[order_id], now)
    }
    # Without a holder the order's PaymentCompleted is still to come, and the session with it.
    missing = [
        factory.create(cached, cached.holder, now)
        for order_id, cached in cached_codes.items()
        if order_id not in sessions and cached.holder is not None
    ]
    await uow.sessions.add_many(missing)
    return _Orders(cached_codes, sessions, changed)


async def _upsert_cache(
    updates: Sequence[CodeUpdate],
    uow: UnitOfWork,
    merge: Callable[[CachedCode, CodeUpdate], bool],
) -> dict[str, CachedCode]:
    """Inserts missing cached codes and merges the updates into the others; returns all, locked."""
    by_order = {update.record.order_id: update for update in sorted(updates, key=_order_id)}
    new = {
        order_id: CachedCode(update.record, update.holder, update.refunded)
        for order_id, update in by_order.items()
    }
    # First, because it waits for another replica that inserts the same orders.
    added = await uow.cached_codes.add_many(list(new.values()))
    existing = await uow.cached_codes.get_many([order for order in by_order if order not in added])
    merged = [cached for order_id, cached in existing.items() if merge(cached, by_order[order_id])]
    await uow.cached_codes.save_many(merged)
    return new | existing


def _order_id(update: CodeUpdate) -> str:
    return update.record.order_id
