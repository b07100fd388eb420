"""The scheduled reconciliation with payment: what it compares in a round, and how long it reports.

Of the drifts, a stale entry stands for all: the queries are the same in every round.
"""

from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest
from ulid import ULID

from interview_svc.workers import scheduled_reconciliation
from interview_svc.workers.scheduled_reconciliation import ScheduledReconciliation
from interview_svc.workflows import reconciliation
from interview_svc.workflows.reconciliation import CodeReconciliation
from runtime.metrics.registry import Metrics
from tests.integration.drivers.databases import Databases, ServiceDatabase


class Replica:
    """The reconciliation in one process, without repairs."""

    def __init__(self, interview: ServiceDatabase) -> None:
        async def cover() -> None:
            await interview.execute(
                "UPDATE interview.payment_watermark SET covered_as_of = clock_timestamp()"
            )

        unused: Any = None
        self.metrics = Metrics()
        workflow = CodeReconciliation(interview.transactions, unused, cover, unused)
        self.check = ScheduledReconciliation(
            interview.transactions, workflow, self.metrics, full_hour=0, repair=False
        )

    async def found(self, kind: str = "STALE_ENTRY") -> float | None:
        """Runs a round; the number of drifts that the metric states after it."""
        await self.check.run_round()
        return self.reported(kind)

    def reported(self, kind: str = "STALE_ENTRY") -> float | None:
        name = "mockinterview_reconciliation_drifts"
        return self.metrics.registry.get_sample_value(name, {"kind": kind})


@pytest.fixture
async def replica(interview: ServiceDatabase) -> AsyncIterator[Replica]:
    """One that is warmed up and has compared everything, of no orders."""
    await interview.execute("UPDATE interview.payment_watermark SET warmed_up_at = now()")
    replica = Replica(interview)
    assert await replica.found() == 0
    yield replica
    await interview.execute(
        "UPDATE interview.payment_watermark SET warmed_up_at = NULL, covered_as_of = NULL"
    )


async def given_codes(
    databases: Databases, status: str, names: Sequence[str], in_payment: str = ""
) -> None:
    """Orders of long ago whose codes have these statuses; each with a session."""
    for name in names:
        await databases["payment"].execute(
            "INSERT INTO payment.orders (order_id, customer_id, product_id, amount_minor,"
            " currency_code, email, display_name, language_code, status, created_at, expire_at)"
            " VALUES (:order, '', 'backend-60', 1, 'CNY', '', '', '', 'PAID', now(), now())",
            order=f"ord_{name}",
        )
        await databases["payment"].execute(
            "INSERT INTO payment.access_codes"
            " (id, code, status, expire_at, order_id, product_id, version, issued_at)"
            " VALUES (:id, :id, :status, 'epoch', :order, '', 1, now())",
            id=f"acc_{name}",
            order=f"ord_{name}",
            status=in_payment or status,
        )
        await databases["interview"].execute(
            "INSERT INTO interview.cached_codes"
            " (order_id, access_code_id, code, status, expire_at, version, product_id)"
            " VALUES (:order, :id, :id, :status, 'epoch', 1, '')",
            id=f"acc_{name}",
            order=f"ord_{name}",
            status=status,
        )
        await databases["interview"].execute(
            "INSERT INTO interview.sessions (session_id, order_id, customer_id, product_id,"
            " access_code_id, question_set, status, prepared_at)"
            " VALUES (:session, :order, '', '', :id, '{}', 'EVALUATED', now())",
            session=f"ses_{name}",
            order=f"ord_{name}",
            id=f"acc_{name}",
        )


async def make_full_due(interview: ServiceDatabase) -> None:
    await interview.execute(
        "UPDATE interview.check_progress SET full_at = now() - interval '2 days'"
    )


async def mend(databases: Databases, name: str) -> None:
    await databases["payment"].execute(
        "UPDATE payment.access_codes SET status = 'REDEEMED' WHERE id = :id", id=f"acc_{name}"
    )


async def test_a_change_that_leaves_no_trace_is_found_once_a_day(
    databases: Databases, replica: Replica
) -> None:
    """Then it is reported until it is repaired, also by rounds that compare only changes."""
    await given_codes(databases, "REDEEMED", ["0a"], in_payment="REVOKED")
    assert await replica.found() == 0
    await make_full_due(databases["interview"])
    assert await replica.found() == 1
    for _ in range(2):
        assert await replica.found() == 1
    await mend(databases, "0a")
    assert await replica.found() == 0


@pytest.mark.parametrize(
    "change",
    [
        (
            "INSERT INTO interview.outbox (id, type, key, data, source, traceparent, occurred_at)"
            " VALUES ('e', '', 'ord_0a', '', '', '', now())"
        ),
        (
            "INSERT INTO interview.inbox (consumer, event_id, state, key, stream_sequence)"
            " VALUES ('interview', 'e', 'HANDLED', 'ord_0a', 1)"
        ),
    ],
    ids=["event", "handled event"],
)
async def test_an_order_with_a_change_is_compared_in_the_next_round(
    databases: Databases, replica: Replica, change: str
) -> None:
    await given_codes(databases, "REDEEMED", ["0a"], in_payment="REVOKED")
    assert await replica.found() == 0
    await databases["interview"].execute(change)
    assert await replica.found() == 1


async def test_what_commits_after_a_round_is_compared_in_the_next_one(
    databases: Databases, replica: Replica
) -> None:
    """Although its time is before that round."""
    await given_codes(databases, "REDEEMED", ["0a"], in_payment="REVOKED")
    async with databases["interview"].transactions.transaction() as uow:
        await uow.connection.exec_driver_sql(
            "INSERT INTO interview.inbox (consumer, event_id, state, key, stream_sequence)"
            " VALUES ('interview', 'e', 'HANDLED', 'ord_0a', 1)"
        )
        assert await replica.found() == 0
    assert await replica.found() == 1


async def test_a_live_code_that_payment_changed_without_an_event_is_found(
    databases: Databases, replica: Replica
) -> None:
    await given_codes(databases, "ACTIVE", ["0a"], in_payment="REVOKED")
    assert await replica.found() == 1


async def test_live_codes_are_compared_in_turn(
    databases: Databases, replica: Replica, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A limited number in each round, and after the last ones the first again."""
    monkeypatch.setattr(scheduled_reconciliation, "_LIVE_CODES", 2)
    await given_codes(databases, "ACTIVE", ["0a", "0b", "0c", "0d"])
    await given_codes(databases, "ACTIVE", ["0e"], in_payment="REVOKED")
    assert [await replica.found() for _ in range(4)] == [0, 0, 1, 1]
    await mend(databases, "0e")  # which the cache does not know: it is still a drift
    assert [await replica.found() for _ in range(4)] == [1, 1, 1, 1]


async def test_a_code_that_payment_issued_without_an_event_is_found(
    databases: Databases, replica: Replica
) -> None:
    await given_codes(databases, "ACTIVE", [str(ULID())])
    await databases["interview"].execute("DELETE FROM interview.sessions")
    await databases["interview"].execute("DELETE FROM interview.cached_codes")
    assert await replica.found("CODE_WITHOUT_SESSION") == 1


async def test_another_replica_goes_on_with_what_was_found(
    databases: Databases, replica: Replica
) -> None:
    await given_codes(databases, "REDEEMED", ["0a"], in_payment="REVOKED")
    await make_full_due(databases["interview"])
    assert await replica.found() == 1
    replica.check.stand_by()
    assert replica.reported() == 0
    assert await Replica(databases["interview"]).found() == 1


async def test_nothing_is_compared_before_the_cache_is_warmed_up(
    databases: Databases, replica: Replica
) -> None:
    """Until then, codes that payment issued before are missing."""
    await given_codes(databases, "ACTIVE", ["0a"], in_payment="REVOKED")
    await databases["interview"].execute(
        "UPDATE interview.payment_watermark SET warmed_up_at = NULL"
    )
    assert await replica.found() == 0


async def test_everything_is_compared_page_by_page(
    databases: Databases, replica: Replica, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Orders of which only a cached code or only a session is left, and codes of neither, too."""
    monkeypatch.setattr(reconciliation, "_COMPARED_AT_ONCE", 2)
    await given_codes(databases, "REDEEMED", ["0a", "0b", "0c"])
    await given_codes(databases, "REDEEMED", ["0d", "0e", "0f"], in_payment="REVOKED")
    delete = "DELETE FROM interview.{} WHERE order_id = :order"
    await databases["interview"].execute(delete.format("cached_codes"), order="ord_0a")
    await databases["interview"].execute(delete.format("sessions"), order="ord_0b")
    for table in ("sessions", "cached_codes"):
        await databases["interview"].execute(delete.format(table), order="ord_0c")
    await make_full_due(databases["interview"])
    assert await replica.found() == 4
    assert replica.reported("CODE_WITHOUT_SESSION") == 2
