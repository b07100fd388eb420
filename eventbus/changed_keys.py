"""The keys that have changed: those of the events that a service wrote or handled.

An event commits with its effect. So these are the keys of all changes that were made as they should
be; a change that has no event is not among them. Nor is one whose transaction began before `since`
and committed only now: callers overlap the periods by more than a transaction lasts.
"""

from datetime import datetime

from sqlalchemy import CompoundSelect, select, union

from eventbus.tables import BusTables


def changed_keys(tables: BusTables, since: datetime) -> CompoundSelect[str]:
    """A query for the keys, each once and without the empty one, of events since a moment."""
    outbox, published, inbox = tables.outbox, tables.outbox_published, tables.inbox
    return union(
        select(outbox.c.key).where(outbox.c.recorded_at >= since, outbox.c.key != ""),
        # No event is published before it is recorded: the index is on `published_at`.
        select(published.c.key).where(
            published.c.published_at >= since,
            published.c.recorded_at >= since,
            published.c.key != "",
        ),
        select(inbox.c.key).where(inbox.c.received_at >= since, inbox.c.key != ""),
    )
