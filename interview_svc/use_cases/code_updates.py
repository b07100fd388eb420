"""What payment says of codes: into the entries, and on to the sessions that depend on them.

Every event with a record goes through `apply_records`, and so does every repair: the entry takes
what is newest, and the order's session becomes what the entry implies, in one transaction.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from interview_svc.domain.cached_code import CachedCode, CodeUpdate, Holder
from interview_svc.domain.events import Recipient
from interview_svc.domain.sessions import Session
from interview_svc.use_cases.ports import Preparation, UnitOfWork


@dataclass(frozen=True, slots=True)
class RefundAsk:
    """A refund asks whether its order's interview has started."""

    heard: CodeUpdate
    refund_id: str


@dataclass(frozen=True, slots=True)
class UseRejected:
    """payment judged that a session was started without right."""

    heard: CodeUpdate
    session_id: str


@dataclass(frozen=True, slots=True)
class _Orders:
    """Entries and sessions by order, locked; `changed` are the sessions to be saved."""

    entries: dict[str, CachedCode]
    sessions: dict[str, Session]
    changed: dict[str, Session]


async def apply_records(
    heard: Sequence[CodeUpdate], uow: UnitOfWork, *, preparation: Preparation
) -> None:
    """Takes what is newer into the entries, and lets the sessions follow. No order twice."""
    orders = await _sync_sessions(heard, uow, preparation, CachedCode.apply)
    await uow.sessions.save_many(list(orders.changed.values()))


async def correct_records(
    heard: Sequence[CodeUpdate],
    known: Mapping[str, int],
    uow: UnitOfWork,
    *,
    preparation: Preparation,
) -> None:
    """The same for what payment answered: it replaces what ours is at that version.

    `known` are the versions that ours had, by order, before payment was asked.
    """

    def correct(entry: CachedCode, one: CodeUpdate) -> bool:
        return entry.correct(one, known.get(one.record.order_id, 0))

    orders = await _sync_sessions(heard, uow, preparation, correct)
    await uow.sessions.save_many(list(orders.changed.values()))


async def delete_stale_sessions(
    heard: Sequence[CodeUpdate], uow: UnitOfWork, *, now: datetime
) -> None:
    """Removes sessions that ended before they began although their codes are live.

    One order has one session: their orders get another, for which they were only in the way.
    """
    live = [one.record.order_id for one in heard if one.record.is_live(now)]
    await uow.entries.get_many(live)  # locked first, as everywhere
    sessions = await uow.sessions.get_many(live)
    await uow.sessions.remove_many(
        [one.session_id for one in sessions.values() if not one.is_open and not one.was_started]
    )


async def bind_sessions(order_ids: Sequence[str], uow: UnitOfWork) -> None:
    """Names the orders' codes in sessions whose own doesn't exist."""
    entries = await uow.entries.get_many(order_ids)
    sessions = await uow.sessions.get_many(list(entries))
    for order_id, session in sessions.items():
        session.bind(entries[order_id].record.access_code_id)
    await uow.sessions.save_many(list(sessions.values()))


async def answer_refunds(
    asks: Sequence[RefundAsk], uow: UnitOfWork, *, preparation: Preparation
) -> None:
    """Answers every refund that asks: the interview has started, or it is withheld.

    A start that payment had undone counts as none: who gets no interview gets the money back.

    An ask that is overtaken isn't answered: the entry is ACTIVE, so nothing withholds the session,
    and the refund has found its end without us.
    """
    orders = await _sync_sessions([ask.heard for ask in asks], uow, preparation, CachedCode.apply)
    for ask in asks:
        entry = orders.entries[ask.heard.record.order_id]
        session = orders.sessions.get(ask.heard.record.order_id)
        if not entry.withholds:
            continue
        if session and session.was_started and not session.start_reverted:
            session.confirm_started_for_refund(ask.refund_id, preparation.now)
            orders.changed[session.order_id] = session
        else:
            session_id = session.session_id if session else ""
            entry.withhold(ask.refund_id, session_id, preparation.now)
    await uow.entries.save_many([entry for entry in orders.entries.values() if entry.events])
    await uow.sessions.save_many(list(orders.changed.values()))


async def reject_uses(
    rejections: Sequence[UseRejected], uow: UnitOfWork, *, preparation: Preparation
) -> Sequence[Session]:
    """Undoes starts that payment rejected; returns the sessions that were used without right."""
    orders = await _sync_sessions(
        [one.heard for one in rejections], uow, preparation, CachedCode.apply
    )
    named = {rejection.session_id for rejection in rejections}
    rejected = [one for one in orders.sessions.values() if one.session_id in named]
    for session in rejected:
        session.reject_use(preparation.now)
        orders.changed[session.order_id] = session
    await uow.sessions.save_many(list(orders.changed.values()))
    return [session for session in rejected if session.used_without_right]


async def delete_unknown_orders(
    order_ids: Sequence[str], uow: UnitOfWork, *, now: datetime
) -> None:
    """Orders of which payment knows no code: what isn't over is called off, their entries go."""
    await uow.entries.get_many(order_ids)
    sessions = await uow.sessions.get_many(order_ids)
    unfinished = [session for session in sessions.values() if session.is_open]
    for session in unfinished:
        session.cancel_orphaned(now)
    await uow.sessions.save_many(unfinished)
    await uow.entries.remove_many(order_ids)


async def _sync_sessions(
    heard: Sequence[CodeUpdate],
    uow: UnitOfWork,
    preparation: Preparation,
    take: Callable[[CachedCode, CodeUpdate], bool],
) -> _Orders:
    """Entries with what was heard, and their sessions; the sessions are to be saved yet."""
    entries = await _upsert_cache(heard, uow, take)
    sessions = await uow.sessions.get_many(list(entries))
    changed = {
        order_id: session
        for order_id, session in sessions.items()
        if session.sync_with_code(entries[order_id], preparation.now)
    }
    await _prepare(
        [entry for order_id, entry in entries.items() if order_id not in sessions],
        uow,
        preparation,
    )
    return _Orders(entries, sessions, changed)


async def _upsert_cache(
    heard: Sequence[CodeUpdate], uow: UnitOfWork, take: Callable[[CachedCode, CodeUpdate], bool]
) -> dict[str, CachedCode]:
    """The entries, locked in the order of their orders, with what was heard."""
    by_order = {one.record.order_id: one for one in sorted(heard, key=_order_of)}
    entries = await uow.entries.get_many(list(by_order))
    new = [
        CachedCode(one.record, one.holder, one.refunded)
        for order_id, one in by_order.items()
        if order_id not in entries
    ]
    added = await uow.entries.add_many(new)
    entries |= {entry.record.order_id: entry for entry in new if entry.record.order_id in added}
    # Another replica added these meanwhile, from another event of the same order.
    raced = [order_id for order_id in by_order if order_id not in entries]
    entries |= await uow.entries.get_many(raced) if raced else {}
    await uow.entries.save_many(
        [entries[order_id] for order_id, one in by_order.items() if take(entries[order_id], one)]
    )
    return entries


def _order_of(heard: CodeUpdate) -> str:
    return heard.record.order_id


async def _prepare(
    entries: Sequence[CachedCode], uow: UnitOfWork, preparation: Preparation
) -> None:
    """Each order that is known to be paid gets its one session, as its entry implies."""
    sessions = [
        _prepared(entry, entry.holder, preparation) for entry in entries if entry.holder is not None
    ]
    await uow.sessions.add_many(sessions)


def _prepared(entry: CachedCode, holder: Holder, preparation: Preparation) -> Session:
    record = entry.record
    session = Session(
        session_id=preparation.new_id(),
        order_id=record.order_id,
        customer_id=holder.customer_id,
        recipient=Recipient(holder.email, holder.display_name, holder.language_code),
        product_id=record.product_id,
        access_code_id=record.access_code_id,
        question_set=preparation.bank.choose(record.product_id, holder.language_code),
        prepared_at=preparation.now,
    )
    session.sync_with_code(entry, preparation.now)
    if not session.events:
        session.announce_prepared()
    return session
