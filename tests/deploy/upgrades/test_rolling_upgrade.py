"""The previous release and this one side by side, rolled forward, back and forward under load."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest

from devstack.polling import WaitTimedOut, wait_until
from devstack.servers import nats_server
from devstack.servers.postgres import SERVICES
from interview.v1 import interview_service_pb2
from ops.v1 import ops_service_pb2
from payment.v1 import payment_service_pb2
from runtime.auth.authentication import Role
from tests.deploy.upgrades import releases
from tests.deploy.upgrades.calls import CallLog
from tests.deploy.upgrades.load import Load
from tests.deploy.upgrades.mailbox import Mailbox
from tests.deploy.upgrades.releases import (
    CURRENT,
    PreviousReleaseMissing,
    Release,
    previous_release,
)
from tests.deploy.upgrades.replicas import NUMBERS, Replicas, servers
from tests.deploy.upgrades.ways import Way, ways
from tests.system.drivers.effects import EFFECTS_QUERY, Effects
from tests.system.drivers.running_stack import RunningStack

# As if payment had new events, which the others consume.
CONSUMERS, PUBLISHERS = ("notification", "interview"), ("payment",)


def test_what_the_previous_release_requires_is_installed(previous: Release) -> None:
    assert previous.unsatisfied_requirements() == []


def test_a_clone_without_the_previous_release_is_told_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(releases, "recorded_commit", lambda: "0" * 40)
    with pytest.raises(PreviousReleaseMissing, match="git fetch --unshallow"):
        previous_release(tmp_path)


@pytest.mark.timeout(600)
async def test_replicas_are_replaced_under_load_forward_back_and_forward(
    previous: Release, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No call fails, each journey has its effects once, and all comparisons are clean."""
    nats_directory = tmp_path / "nats"
    nats_file = previous.install_nats_configuration(nats_directory)
    monkeypatch.setattr(nats_server, "CONFIGURATION", nats_file)
    calls = CallLog()
    async with servers(tmp_path / "stack") as replicas:
        for service in SERVICES:
            await replicas.run(previous.migration(replicas.stack, service))
        await replicas.run(previous.topology(replicas.stack))
        await replicas.start_all(previous)
        token = replicas.stack.keys.token("shop", Role.STOREFRONT, Role.OPERATOR)
        async with replicas.connect(token, calls) as clients:
            stack = RunningStack(replicas.stack, clients)
            load = Load(stack, Mailbox(replicas.stack.mail_dir))
            await _under_load(load, Upgrade(stack, replicas, load, previous, nats_directory))
            assert calls.failed == []
            assert load.broken == []
            await _assert_each_journey_has_its_effects_once(load)
            await _assert_all_comparisons_are_clean(stack)
            _assert_logs_name_no_defect(replicas)


async def _under_load(load: Load, upgrade: "Upgrade") -> None:
    async def take_steps() -> None:
        try:
            await upgrade.run()
        finally:
            load.stopping = True

    async with asyncio.TaskGroup() as group:
        group.create_task(load.run())
        group.create_task(take_steps())


class Upgrade:
    """The steps of docs/operations.md."""

    def __init__(
        self,
        stack: RunningStack,
        replicas: Replicas,
        load: Load,
        previous: Release,
        nats_directory: Path,
    ) -> None:
        self._stack, self._replicas, self._load = stack, replicas, load
        self._previous, self._nats_directory = previous, nats_directory

    async def run(self) -> None:
        """From the previous release to this one, with a return in the middle."""
        await self._load.wait_for_journeys(6)
        await self._prepare()
        await self._load.wait_for_journeys(4)
        # Half of the replicas of every service, so that events pass in both directions.
        await self._roll((*CONSUMERS, *PUBLISHERS), 0, CURRENT)
        await self._events_pass(publisher=self._previous)
        # A replica of the previous release may restart meanwhile; the other's relay goes on.
        await self._roll(("interview", "payment"), 1, self._previous)
        await self._events_pass(publisher=CURRENT)
        await self._roll_back()
        await self._load.wait_for_journeys(4)
        await self._roll_forward()
        await self._load.wait_for_journeys(6)

    async def _prepare(self) -> None:
        """The broker's configuration, then the schemas, while the previous release runs."""
        stack = self._replicas.stack
        CURRENT.install_nats_configuration(self._nats_directory)
        await stack.terminate("nats")
        await stack.start("nats")
        for service in SERVICES:
            await self._replicas.run(CURRENT.migration(stack, service))

    async def _roll_back(self) -> None:
        """The previous release again: its migrations leave the newer schema as it is."""
        for service in SERVICES:
            migration = self._previous.migration(self._replicas.stack, service)
            output = await self._replicas.run(migration)
            assert "the schema is newer and serves this code" in output
        await self._roll((*PUBLISHERS, *CONSUMERS), 0, self._previous)

    async def _roll_forward(self) -> None:
        """Streams and consumers of the release when all consuming services are of it."""
        for number in NUMBERS:
            await self._roll(CONSUMERS, number, CURRENT)
        await self._replicas.run(CURRENT.topology(self._replicas.stack))
        for number in NUMBERS:
            await self._roll(PUBLISHERS, number, CURRENT)

    async def _roll(self, services: Sequence[str], number: int, release: Release) -> None:
        """One replica after the other."""
        for service in services:
            await self._replicas.roll(service, number, release)

    async def _events_pass(self, publisher: Release) -> None:
        """Waits until events of each release, published by one, were handled by the other."""
        both = (self._previous.name, CURRENT.name)
        expected = {
            Way(event_type, writer, consumer, publisher.name, handler)
            for event_type, consumer in (
                ("payment.v1.PaymentCompleted", "interview"),
                ("payment.v1.PaymentCompleted", "notification"),
                ("payment.v1.RefundRequested", "interview"),
                ("interview.v1.InterviewStarted", "payment"),
            )
            for writer, handler in (both, both[::-1])
        }
        missing = expected

        async def have_passed() -> bool:
            nonlocal missing
            missing = expected.difference(await ways(self._stack, self._replicas))
            return not missing

        try:
            await wait_until(have_passed, "events from each release to the other", 90)
        except WaitTimedOut as error:
            raise WaitTimedOut(f"{error}; missing: {missing}") from None


async def _assert_each_journey_has_its_effects_once(load: Load) -> None:
    stack = load.stack
    await stack.wait_until_idle()
    each = EFFECTS_QUERY.replace("$1", "one.order_id")
    rows = await stack.fetch_rows(
        f"SELECT * FROM unnest($1::text[]) AS one(order_id), LATERAL ({each}) AS effects",  # noqa: S608
        list(load.completed),
    )
    found = {order_id: Effects(*effects) for order_id, *effects in rows}
    assert found == {order_id: effects for order_id, (_, effects) in load.completed.items()}
    for journey, effects in load.completed.values():
        mails = load.mailbox.mails_to(journey.email)
        assert len(mails) == effects.notifications
        assert len({mail["Message-ID"] for mail in mails}) == effects.notifications


async def _assert_all_comparisons_are_clean(stack: RunningStack) -> None:
    for service in SERVICES:
        bus = await stack.clients.ops[service].CheckBus(ops_service_pb2.CheckBusRequest())
        assert (list(bus.lost), list(bus.unhandled)) == ([], [])
        for table in ("dead_letters", "outbox"):
            assert await stack.fetch_value(f"SELECT count(*) FROM {service}.{table}") == 0  # noqa: S608
    consistency = await stack.clients.interviews.CheckConsistency(
        interview_service_pb2.CheckConsistencyRequest()
    )
    assert list(consistency.drifts) == []
    ledger = await stack.clients.payments.CheckLedger(payment_service_pb2.CheckLedgerRequest())
    assert ledger.checked_count > 0
    assert list(ledger.imbalances) == []


def _assert_logs_name_no_defect(replicas: Replicas) -> None:
    """Warnings tell of the broker's restart, and of transactions that a migration interrupted."""
    found = Counter(
        (entry.service, entry.release.name, entry.fields["event"])
        for entry in replicas.entries()
        if entry.fields["level"] in {"error", "critical"}
        or entry.fields["event"] == "unknown setting"
    )
    assert found == {}
