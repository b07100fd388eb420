"""Clear boundaries: an import from one service into another fails the check that CI runs.

The broker refuses a service's publish to a subject of another domain.
"""

from datetime import UTC, datetime
from itertools import permutations
from pathlib import Path

import pytest
from ulid import ULID

from devstack.commands import PROJECT
from eventbus.broker import BrokerUnavailable
from eventbus.event import Event
from eventbus.jetstream import JetStream
from tests.system.drivers.project_copy import copy_of_the_project, make
from tests.system.drivers.running_stack import RunningStack

SERVICES = ("payment", "interview", "notification")
PAIRS = list(permutations(SERVICES, 2))


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A copy of the project to break."""
    return copy_of_the_project(tmp_path)


def test_ci_runs_the_check() -> None:
    """`make check` checks every import."""
    assert "make check\n" in (PROJECT / ".ci" / "run").read_text("utf-8")
    assert "lint-imports" in make(PROJECT, "check", "--dry-run").stdout


def test_the_unchanged_imports_pass(tree: Path) -> None:
    """The failures below are caused by the added imports."""
    result = make(tree, "check-imports")
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize(("importer", "imported"), PAIRS)
def test_an_import_across_services_fails(tree: Path, importer: str, imported: str) -> None:
    """The message names the importing and the imported service."""
    module = tree / f"{importer}_svc" / "event_handlers.py"
    text = module.read_text("utf-8")
    module.write_text(f"{text}\nfrom {imported}_svc import domain  # noqa\n", "utf-8")
    result = make(tree, "check-imports")
    assert result.returncode != 0
    assert "Services never import each other BROKEN" in result.stdout
    assert f"{importer}_svc.event_handlers -> {imported}_svc" in result.stdout


@pytest.mark.parametrize(("publisher", "owner"), PAIRS)
async def test_publishing_another_domains_subject_is_refused(
    shared_stack: RunningStack, publisher: str, owner: str
) -> None:
    """As a single event and in a batch; none of them reaches the stream."""
    login = shared_stack.devstack.nats_login(publisher)
    broker = JetStream(login, f"forging {publisher}")
    forged = [
        Event(
            id=f"evt_{ULID()}",
            type=f"{owner}.v1.Forged",
            key=f"ord_{ULID()}",
            data=b"",
            occurred_at=datetime.now(UTC),
            source=publisher,
        )
        for _ in range(2)
    ]
    broker.open()
    try:
        await broker.wait_connected(10)
        with pytest.raises(BrokerUnavailable, match=r"(?i)permissions violation"):
            await broker.publish(forged[0])
        with pytest.raises(BrokerUnavailable, match=r"(?i)permissions violation"):
            await broker.publish_batch(forged)
    finally:
        await broker.close()
    assert await shared_stack.message_count(f"{owner}.v1.Forged.*") == 0
