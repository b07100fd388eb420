"""The comparison of interview's data with payment's codes, and its repairs, rule by rule."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from structlog.testing import capture_logs

from interview_svc.domain.cached_code import CodeStatus, CodeUpdate
from interview_svc.domain.drifts import Drift, DriftKind, DriftScope
from interview_svc.domain.events import InterviewStarted, ValidationSource
from interview_svc.domain.session_state import SessionStatus
from interview_svc.use_cases.code_updates import apply_code_updates
from interview_svc.workflows import reconciliation as workflow
from interview_svc.workflows.reconciliation import MAX_DRIFTS, CodeReconciliation, Report
from runtime.clock import utc_now
from tests.builders.interview import (
    LATER,
    NOW,
    code_record,
    payment_completed,
    prepared_order,
    session_factory,
    started_interview,
)
from tests.fakes.clock import at
from tests.fakes.interview import InMemoryUnitOfWork

STALE = Drift(DriftKind.STALE_ENTRY, "ord_1", "acc_1_1", "", "")
UNREDEEMED = Drift(DriftKind.STARTED_NOT_REDEEMED, "ord_1", "acc_1_1", "ses_1", "")
WITHOUT_SESSION = Drift(DriftKind.CODE_WITHOUT_SESSION, "", "acc_2_1", "", "")
UNBOUND = Drift(DriftKind.SESSION_WITHOUT_CODE, "ord_1", "acc_nowhere", "ses_1", "")
UNKNOWN = replace(STALE, code_missing=True)
WITHOUT_RIGHT = Drift(DriftKind.USED_WITHOUT_RIGHT, "ord_1", "acc_1_1", "ses_1", "")


class Comparisons:
    """What successive comparisons find; the last one is found by all later ones too.

    A comparison has parts, and ends with a look at the clock. `keys` are the orders and codes that
    each has compared; "everything" is one order and one code.
    """

    def __init__(self, *found: Sequence[Drift]) -> None:
        self._found, self.keys = list(found), list[tuple[set[str], set[str]]]()
        self._ended = True

    async def compare(self, scope: DriftScope, limit: int) -> Sequence[Drift]:
        is_first, self._ended = self._ended, False
        if is_first:
            assert limit == MAX_DRIFTS
            self.keys.append((set(), set()))
        order_ids, access_code_ids = self.keys[-1]
        order_ids.update(scope.order_ids)
        access_code_ids.update(scope.access_code_ids)
        if not is_first:
            return ()
        return self._found.pop(0) if len(self._found) > 1 else self._found[0]

    async def compared_count(self, scope: DriftScope) -> int:
        return 7 if scope.order_ids else 0

    async def codes_of(self, _order_ids: Sequence[str]) -> Sequence[str]:
        return ()

    async def all_order_ids(self, after: str, _limit: int) -> Sequence[str]:
        return () if after else ("ord_1",)

    async def all_access_code_ids(self, after: str, _limit: int) -> Sequence[str]:
        return () if after else ("acc_1_1",)

    async def clock(self) -> datetime:
        self._ended = True
        return NOW + timedelta(seconds=len(self.keys))


class Database:
    """A unit of work in memory, what it has beside the ports, and payment."""

    def __init__(self, uow: InMemoryUnitOfWork, *found: Sequence[Drift]) -> None:
        self.uow: Any = uow
        self.uow.drifts = self.comparisons = Comparisons(*found)
        self.uow.watermarks = self
        self.uow.cached_codes.versions = self.versions
        self.uow.sessions.exists = self.exists
        self.records: Mapping[str, CodeUpdate] = {}
        self.queries: list[dict[str, str]] = []
        self.covered = [LATER]
        self.watermark_updates, self.waiting = 0, asyncio.Event()
        self.during_query: Callable[[], Any] | None = None
        self.running = self.most_running = 0

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Any]:
        yield self.uow

    read_only = transaction

    async def versions(self, order_ids: Sequence[str]) -> dict[str, int]:
        saved = self.uow.cached_codes.saved
        return {id_: saved[id_].record.version for id_ in order_ids if id_ in saved}

    async def exists(self, order_id: str) -> bool:
        return order_id in self.uow.sessions.saved

    async def covered_as_of(self) -> datetime:
        return self.covered.pop(0) if len(self.covered) > 1 else self.covered[0]

    async def update_watermark(self) -> None:
        self.watermark_updates += 1
        self.waiting.set()

    async def get_update(self, **key: str) -> CodeUpdate | None:
        self.queries.append(key)
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        await asyncio.sleep(0)
        if self.during_query:
            await self.during_query()
        self.running -= 1
        return self.records.get(next(iter(key.values())))

    async def check(self, *, repair: bool = True, **arguments: Any) -> Report:
        return await self.reconciliation().check(repair=repair, **arguments)

    def reconciliation(self) -> CodeReconciliation:
        database: Any = self
        return CodeReconciliation(database, database, self.update_watermark, session_factory())


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workflow, "_POLL_SECONDS", 0.0)
    monkeypatch.setattr(workflow, "_CATCH_UP_SECONDS", 0.05)


# What counts as a drift


async def test_only_what_both_comparisons_find_is_a_drift() -> None:
    database = Database(await prepared_order(), [STALE, UNBOUND], [STALE, WITHOUT_RIGHT])
    report = await database.check(repair=False)
    assert (report.drifts, report.compared_count) == ([STALE], 7)


async def test_without_a_difference_there_is_no_second_comparison() -> None:
    database = Database(await prepared_order(), [])
    assert (await database.check()).drifts == []
    assert (len(database.comparisons.keys), database.watermark_updates) == (1, 0)


async def test_the_second_comparison_waits_for_the_events_that_the_first_may_have_seen() -> None:
    """Until those are handled that payment committed before its end: here 1 s after NOW."""
    database = Database(await prepared_order(), [STALE])
    compared: list[int] = []

    async def covered_as_of() -> datetime | None:
        compared.append(len(database.comparisons.keys))
        covered = None, NOW, NOW + timedelta(seconds=0.999), NOW + timedelta(seconds=1), LATER
        return covered[len(compared) - 1]

    database.covered_as_of = covered_as_of  # type: ignore[method-assign, assignment]
    await database.check(repair=False)
    assert compared == [1, 1, 1, 1]
    assert database.watermark_updates == 4
    assert len(database.comparisons.keys) == 2


async def test_a_blocked_consumer_does_not_hold_up_the_check_for_ever() -> None:
    database = Database(await prepared_order(), [STALE])
    database.covered = [NOW]
    report = await asyncio.wait_for(database.check(repair=False), 5)
    assert report.drifts == [STALE]


async def test_a_stop_ends_the_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workflow, "_CATCH_UP_SECONDS", 3600.0)
    database = Database(await prepared_order(), [STALE])
    database.covered = [NOW]
    reconciliation = database.reconciliation()
    checking = asyncio.create_task(reconciliation.check(repair=False))
    await database.waiting.wait()
    reconciliation.stop()
    assert (await asyncio.wait_for(checking, 5)).drifts == [STALE]


# What is compared


@pytest.mark.parametrize(
    ("order_id", "key", "queries"),
    [
        ("", ({"ord_1"}, {"acc_1_1"}), []),
        ("ord_1", ({"ord_1"}, set()), []),
        # Without a session, the shared table has no order: payment knows its code.
        ("ord_2", ({"ord_2"}, {"acc_2_1"}), [{"order_id": "ord_2"}]),
        ("ord_3", ({"ord_3"}, set()), [{"order_id": "ord_3"}]),
    ],
)
async def test_a_check_of_one_order_compares_its_session_or_its_code(
    order_id: str, key: tuple[set[str], set[str]], queries: list[dict[str, str]]
) -> None:
    database = Database(await prepared_order(), [])
    database.records = {"ord_2": payment_completed(2)}
    await database.check(repair=False, order_id=order_id)
    assert (database.comparisons.keys, database.queries) == ([key], queries)


async def test_only_what_has_a_drift_is_compared_again() -> None:
    """Before and after the repair: the rest of everything is not."""
    database = Database(await prepared_order(), [STALE, WITHOUT_SESSION])
    await database.check()
    again = {"ord_1"}, {"acc_1_1", "acc_2_1"}
    assert database.comparisons.keys == [({"ord_1"}, {"acc_1_1"}), again, again]


# Repairs


async def test_without_repair_nothing_is_queried_and_nothing_changes() -> None:
    uow = await prepared_order()
    database = Database(uow, [STALE, UNREDEEMED, replace(UNBOUND, code_missing=True)])
    report = await database.check(repair=False)
    assert not any(drift.repaired for drift in report.drifts)
    assert (database.queries, uow.events, list(uow.cached_codes.saved)) == ([], [], ["ord_1"])


async def test_a_stale_entry_is_replaced_by_payments_record() -> None:
    uow = await prepared_order()
    uow.cached_codes.saved["ord_1"].record = code_record(8, "REVOKED")
    database = Database(uow, [STALE], [STALE], [])
    database.records = {"ord_1": payment_completed()}
    [drift] = (await database.check()).drifts
    assert drift.repaired
    assert uow.cached_codes.saved["ord_1"].record == code_record()


async def test_an_event_that_is_handled_during_the_query_is_not_undone() -> None:
    """The cached versions are read before payment is queried."""
    uow = await prepared_order()

    async def handle_event() -> None:
        uow.cached_codes.saved["ord_1"].record = code_record(8, "REVOKED")

    database = Database(uow, [STALE])
    database.records, database.during_query = {"ord_1": payment_completed()}, handle_event
    await database.check()
    assert uow.cached_codes.saved["ord_1"].record.status is CodeStatus.REVOKED


async def test_a_code_without_a_session_gets_one() -> None:
    """It is queried by the code: the shared table has no order."""
    uow = await prepared_order()
    database = Database(uow, [WITHOUT_SESSION], [WITHOUT_SESSION], [])
    database.records = {"acc_2_1": payment_completed(2)}
    [drift] = (await database.check()).drifts
    assert drift.repaired
    assert database.queries == [{"access_code_id": "acc_2_1"}]
    assert uow.sessions.saved["ord_2"].status is SessionStatus.PREPARED


@pytest.mark.parametrize(
    ("kind", "session_id"),
    [(DriftKind.CODE_WITHOUT_SESSION, "ses_1"), (DriftKind.STALE_ENTRY, "ses_0")],
)
async def test_an_ended_session_is_replaced_only_if_its_code_has_none_that_counts(
    kind: DriftKind, session_id: str
) -> None:
    uow = await prepared_order()
    ended = uow.sessions.saved["ord_1"]
    ended.session_id, ended.status = "ses_0", SessionStatus.CANCELLED
    database = Database(uow, [replace(STALE, kind=kind)])
    database.records = {"ord_1": payment_completed(expire_at=utc_now() + timedelta(days=1))}
    await database.check()
    assert uow.sessions.saved["ord_1"].session_id == session_id


@pytest.mark.parametrize(
    ("drift", "access_code_id"), [(UNBOUND, "acc_1_1"), (STALE, "acc_nowhere")]
)
async def test_only_a_session_without_code_is_bound_to_the_code_of_its_order(
    drift: Drift, access_code_id: str
) -> None:
    uow = await started_interview(ValidationSource.LOCAL_CACHE)
    uow.sessions.saved["ord_1"].access_code_id = "acc_nowhere"
    database = Database(uow, [drift])
    database.records = {"ord_1": payment_completed()}
    await database.check()
    assert uow.sessions.saved["ord_1"].access_code_id == access_code_id


@pytest.mark.parametrize(
    ("drift", "known", "deleted"),
    [(UNKNOWN, False, True), (UNKNOWN, True, False), (STALE, False, False)],
)
async def test_an_order_is_deleted_only_if_neither_table_nor_payment_has_its_code(
    drift: Drift, known: bool, deleted: bool
) -> None:
    uow = await prepared_order()
    database = Database(uow, [drift])
    database.records = {"ord_1": payment_completed()} if known else {}
    await database.check()
    assert ("ord_1" not in uow.cached_codes.saved) is deleted
    status = SessionStatus.CANCELLED if deleted else SessionStatus.PREPARED
    assert uow.sessions.saved["ord_1"].status is status


async def test_an_order_about_which_payment_was_not_asked_is_not_deleted() -> None:
    uow = await started_interview()
    database = Database(uow, [replace(UNREDEEMED, code_missing=True)])
    await database.check()
    assert database.queries == []
    assert "ord_1" in uow.cached_codes.saved


async def test_a_start_that_is_not_redeemed_is_announced_again() -> None:
    """It counts as repaired, though payment has not handled the event yet."""
    uow = await started_interview()
    database = Database(uow, [UNREDEEMED])
    [drift] = (await database.check()).drifts
    assert drift.repaired
    [event] = uow.events
    assert isinstance(event, InterviewStarted)


async def test_a_start_that_was_announced_a_moment_ago_is_not_repaired() -> None:
    uow = await started_interview()
    database = Database(uow, [UNREDEEMED])
    await database.check()
    [drift] = (await database.check()).drifts
    assert not drift.repaired
    assert len(uow.events) == 1


async def test_a_use_without_right_is_only_reported() -> None:
    uow = await started_interview()
    database = Database(uow, [WITHOUT_RIGHT])
    [drift] = (await database.check()).drifts
    assert not drift.repaired
    assert (database.queries, uow.events) == ([], [])


async def test_what_a_comparison_after_the_repair_still_finds_is_not_repaired() -> None:
    database = Database(await prepared_order(), [STALE, UNBOUND], [STALE, UNBOUND], [UNBOUND])
    database.records = {"ord_1": payment_completed()}
    report = await database.check()
    assert [(drift.kind, drift.repaired) for drift in report.drifts] == [
        (DriftKind.STALE_ENTRY, True),
        (DriftKind.SESSION_WITHOUT_CODE, False),
    ]


async def test_each_code_is_queried_once_and_few_at_a_time() -> None:
    drifts = [
        replace(WITHOUT_SESSION, access_code_id=f"acc_{number}_1") for number in range(2, 252)
    ]
    uow = await prepared_order()
    database = Database(uow, [STALE, UNBOUND, *drifts], [STALE, UNBOUND, *drifts], [])
    database.records = {
        "ord_1": payment_completed(),
        **{f"acc_{number}_1": payment_completed(number) for number in range(2, 252)},
    }
    await database.check()
    assert len(database.queries) == 251
    assert database.most_running == 16
    assert len(uow.sessions.saved) == 251


# Reports


async def test_drifts_are_reported_before_their_repair_and_logged_after_it() -> None:
    database = Database(await prepared_order(), [STALE, UNBOUND], [STALE, UNBOUND], [UNBOUND])
    database.records = {"ord_1": payment_completed()}
    found: list[Sequence[Drift]] = []
    with capture_logs() as logs:
        await database.check(on_found=lambda report: found.append(report.drifts))
    assert found == [[STALE, UNBOUND]]
    assert [(entry["event"], entry["log_level"], entry["kind"]) for entry in logs] == [
        ("drift repaired", "info", "STALE_ENTRY"),
        ("drift found", "warning", "SESSION_WITHOUT_CODE"),
    ]


async def test_drifts_are_logged_also_if_payment_cannot_be_queried() -> None:
    database = Database(await prepared_order(), [STALE])

    async def unavailable() -> None:
        raise ConnectionError

    database.during_query = unavailable
    with capture_logs() as logs, pytest.raises(ConnectionError):
        await database.check()
    assert [entry["event"] for entry in logs] == ["drift found"]


async def test_the_warm_up_continues_while_it_repairs_a_full_report() -> None:
    """And stores that it is complete, after the codes of the last report."""
    full = [replace(WITHOUT_SESSION, access_code_id=f"acc_{n}_1") for n in range(2, MAX_DRIFTS + 2)]
    rest = [replace(WITHOUT_SESSION, access_code_id="acc_2000_1")]
    uow = InMemoryUnitOfWork()
    await apply_code_updates([], uow, factory=session_factory(), clock=at(NOW))
    database = Database(uow, full, full, [], rest, rest, [])
    database.records = {f"acc_{n}_1": payment_completed(n) for n in range(2, 2001)}
    warmed_up: list[int] = []

    async def is_warmed_up() -> bool:
        return bool(warmed_up)

    async def set_warmed_up() -> None:
        warmed_up.append(len(uow.sessions.saved))

    database.is_warmed_up, database.set_warmed_up = is_warmed_up, set_warmed_up  # type: ignore[attr-defined]
    assert await database.reconciliation().warm_up()
    assert warmed_up == [MAX_DRIFTS + 1]
