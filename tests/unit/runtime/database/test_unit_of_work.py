"""Units of work: the events of saved aggregates enter the outbox, once and in order."""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import MetaData, create_mock_engine

from eventbus import BusTables, Event
from runtime.database.unit_of_work import UnitOfWork

TABLES = BusTables.define(MetaData(schema="test"))


class Connection:
    """Records the ids of the rows that are inserted."""

    dialect = create_mock_engine("postgresql+asyncpg://", print).dialect

    def __init__(self) -> None:
        self.inserted: list[str] = []

    async def execute(self, _statement: object, columns: dict[str, list[Any]]) -> None:
        self.inserted += columns["id"]


@dataclass
class Aggregate:
    events: list[str] = field(default_factory=list)


def to_event(name: str) -> Event:
    return Event(name, "test.v1.Happened", "key", b"", datetime.now(UTC), "test")


def unit_of_work() -> tuple[UnitOfWork, Connection]:
    connection: Any = Connection()
    return UnitOfWork(connection, TABLES, to_event), connection


async def test_events_enter_the_outbox_in_the_order_in_which_aggregates_are_saved() -> None:
    uow, connection = unit_of_work()
    order, code = Aggregate(["paid"]), Aggregate(["issued"])
    uow.collect_events([order])
    uow.collect_events([code])
    order.events.append("completed")
    uow.collect_events([order])
    await uow.flush_events()
    assert connection.inserted == ["paid", "issued", "completed"]


async def test_an_event_is_published_once_however_often_its_aggregate_is_saved() -> None:
    uow, connection = unit_of_work()
    order = Aggregate(["paid"])
    uow.collect_events([order])
    uow.collect_events([order])
    await uow.flush_events()
    await uow.flush_events()
    assert connection.inserted == ["paid"]
    assert order.events == []


async def test_without_events_nothing_is_inserted() -> None:
    uow, connection = unit_of_work()
    uow.collect_events([Aggregate()])
    await uow.flush_events()
    assert connection.inserted == []
