"""What makes the local cache stale: for one order, and for all."""

from datetime import UTC, datetime, timedelta

import pytest

from eventbus import KeyContradiction, MalformedEnvelope
from eventbus.ack_policy import unreadable
from eventbus.broker import Message
from eventbus.dead_letters.store import DeadLetter, DeadLetterStore
from interview_svc.domain.fallback import CacheFacts
from interview_svc.storage.tables import bus
from tests.integration.drivers.databases import ServiceDatabase

ORDER, OTHER = "ord_01ARZ3NDEKTSV4RRFFQ69G5FAV", "ord_01ARZ3NDEKTSV4RRFFQ69G5FAW"
HOUR = timedelta(hours=1)
UNREADABLE = MalformedEnvelope("body is garbage")


async def is_fresh(schema: ServiceDatabase, order_id: str) -> bool:
    async with schema.transactions.read_only() as uow:
        return await uow.freshness.is_fresh(order_id, HOUR)


async def facts(schema: ServiceDatabase) -> CacheFacts:
    async with schema.transactions.read_only() as uow:
        return (await uow.freshness.read())[0]


async def cover(schema: ServiceDatabase) -> None:
    """Every event that payment committed until now is handled."""
    await schema.execute("UPDATE interview.payment_watermark SET covered_as_of = now()")


async def dead_letter(
    schema: ServiceDatabase, subject: str, error: Exception, sequence: int = 1
) -> str:
    """Stores the dead letter of a message that could not be decoded; its id."""
    message = Message(subject, {"ce-id": f"evt_{sequence}"}, b"garbage", "PAYMENT", sequence, 1, "")
    decision = unreadable(error)
    stored = DeadLetter.of(message, "interview", decision.kind, decision.reason, 1)
    async with schema.engine.begin() as connection:
        assert await DeadLetterStore(bus).add(connection, stored)
    return stored.dead_letter_id


@pytest.fixture
async def covered(schema: ServiceDatabase) -> ServiceDatabase:
    """With a fresh cache and without marks of earlier tests."""
    await schema.execute("TRUNCATE interview.inbox")
    await cover(schema)
    return schema


async def test_without_dead_letters_the_cache_is_fresh(covered: ServiceDatabase) -> None:
    assert await is_fresh(covered, ORDER)
    known = await facts(covered)
    assert (known.unassigned_dead_letters, known.unassigned_since, known.stale_orders) == (
        0,
        None,
        0,
    )


@pytest.mark.parametrize("event_type", ["payment.v1.AccessCodeRevoked", "payment.v1.Unknown"])
async def test_an_unreadable_message_whose_subject_names_an_order_makes_only_its_code_stale(
    covered: ServiceDatabase, event_type: str
) -> None:
    await dead_letter(covered, f"{event_type}.{ORDER}", UNREADABLE)
    assert not await is_fresh(covered, ORDER)
    assert await is_fresh(covered, OTHER)
    known = await facts(covered)
    assert (known.unassigned_dead_letters, known.stale_orders) == (0, 1)


@pytest.mark.parametrize(
    ("subject", "error"),
    [
        ("payment.v1.Watermark", UNREADABLE),
        (f"payment.v1.Watermark.{ORDER}", UNREADABLE),
        ("payment.v1.AccessCodeRevoked", UNREADABLE),
        ("payment.v1.AccessCodeRevoked.ord_1", UNREADABLE),
        (f"payment.v1.AccessCodeRevoked.{ORDER.lower()}", UNREADABLE),
        (f"payment.v1.AccessCodeRevoked.x{ORDER}", UNREADABLE),
        (f"payment.v1.revoked.{ORDER}", UNREADABLE),
        (f"payment.v1.AccessCodeRevoked.{ORDER}", KeyContradiction("the body's key is another")),
    ],
)
async def test_one_that_cannot_be_assigned_makes_every_code_stale_until_it_is_closed(
    covered: ServiceDatabase, subject: str, error: Exception
) -> None:
    before = datetime.now(UTC)
    dead_letter_id = await dead_letter(covered, subject, error)
    await dead_letter(covered, f"payment.v1.AccessCodeRevoked.{ORDER}", UNREADABLE, sequence=2)
    assert not await is_fresh(covered, ORDER)
    assert not await is_fresh(covered, OTHER)
    known = await facts(covered)
    assert (known.unassigned_dead_letters, known.stale_orders) == (1, 1)
    assert known.unassigned_since is not None
    assert before <= known.unassigned_since <= datetime.now(UTC)
    async with covered.engine.begin() as connection:
        await DeadLetterStore(bus).resolve(connection, dead_letter_id, "DISCARDED")
    assert await is_fresh(covered, OTHER)
    assert not await is_fresh(covered, ORDER)


async def test_dead_letters_of_other_consumers_do_not_count(covered: ServiceDatabase) -> None:
    await dead_letter(covered, "payment.v1.Watermark", UNREADABLE)
    await covered.execute("UPDATE interview.dead_letters SET consumer = 'another'")
    assert await is_fresh(covered, ORDER)
    assert (await facts(covered)).unassigned_dead_letters == 0


async def test_a_cache_that_was_never_covered_is_stale(schema: ServiceDatabase) -> None:
    assert not await is_fresh(schema, ORDER)
    assert (await facts(schema)).covered_as_of is None
