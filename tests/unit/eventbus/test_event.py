"""Events on the bus: their valid values, and their form as messages."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventbus import Event, MalformedEnvelope
from eventbus.event import parse, split_subject

NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)
TYPE = "payment.v1.PaymentCompleted"

types = st.from_regex(
    r"[a-z][a-z0-9_]{0,9}(\.[a-z0-9_]{1,5}){0,2}\.[A-Z][A-Za-z0-9]{0,9}", fullmatch=True
)
keys = st.from_regex(r"[A-Za-z0-9_-]{0,40}", fullmatch=True)
ids = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=128)
moments = st.datetimes(timezones=st.just(UTC))


def event(**changes: object) -> Event:
    values = {"id": "evt_1", "type": TYPE, "key": "ord_1", "data": b"body", "occurred_at": NOON}
    return Event(**{**values, "source": "payment", **changes})


def test_the_subject_is_the_type_and_the_key() -> None:
    assert event().subject == "payment.v1.PaymentCompleted.ord_1"


def test_the_subject_of_an_event_without_a_key_is_its_type() -> None:
    assert event(key="").subject == TYPE


def test_the_repr_of_an_event_leaves_out_its_body() -> None:
    """The body may contain a secret, and reprs are logged."""
    assert "secret" not in repr(event(data=b"secret"))


@pytest.mark.parametrize(
    "changes",
    [
        {"id": ""},
        {"id": "two words"},
        {"id": "line\nbreak"},
        {"id": "x" * 129},
        {"id": "ü"},
        {"type": ""},
        {"type": "PaymentCompleted"},
        {"type": "payment.v1.paymentCompleted"},
        {"type": "payment.v1.PaymentCompleted.ord_1"},
        {"type": "payment.v1.*"},
        {"type": "payment..Completed"},
        {"type": "payment.v1.PaymentCompleted\n"},
        {"key": "a.b"},
        {"key": "a b"},
        {"key": ">"},
        {"key": "*"},
        {"key": "ü"},
        {"key": "k" * 129},
        {"key": "ord_1\n"},
    ],
)
def test_an_event_rejects_values_that_a_subject_or_header_cannot_hold(
    changes: dict[str, object],
) -> None:
    with pytest.raises(MalformedEnvelope):
        event(**changes)


@given(types, keys, ids, moments, st.binary(max_size=50), st.sampled_from(["", "payment"]))
def test_a_message_is_parsed_into_the_event_it_was_made_from(
    type_: str, key: str, id_: str, moment: datetime, data: bytes, source: str
) -> None:
    sent = Event(id_, type_, key, data, moment, source, traceparent="00-x")
    assert parse(sent.subject, sent.headers(), sent.data) == sent


def test_a_message_without_ce_id_has_the_id_of_the_broker_header() -> None:
    assert parse(TYPE, {"Nats-Msg-Id": "evt_9"}, b"").id == "evt_9"


def test_ce_id_takes_precedence_over_the_broker_header() -> None:
    assert parse(TYPE, {"Nats-Msg-Id": "evt_9", "ce-id": "evt_1"}, b"").id == "evt_1"


@pytest.mark.parametrize("headers", [{}, {"ce-id": ""}, {"ce-type": TYPE}])
def test_a_message_without_an_id_is_malformed(headers: dict[str, str]) -> None:
    with pytest.raises(MalformedEnvelope, match="duplicates"):
        parse(TYPE, headers, b"")


def test_a_message_whose_header_has_another_type_is_malformed() -> None:
    with pytest.raises(MalformedEnvelope, match="ce-type"):
        parse(TYPE, {"ce-id": "evt_1", "ce-type": "payment.v1.Other"}, b"")


@pytest.mark.parametrize(
    "subject", ["", "payment", "payment.v1", "payment.v1.lower", f"{TYPE}.a.b", "$JS.API.INFO"]
)
def test_a_subject_without_a_type_is_malformed(subject: str) -> None:
    with pytest.raises(MalformedEnvelope):
        split_subject(subject)


@pytest.mark.parametrize("key", ["Ord", "ABC", "x", "1"])
def test_a_key_is_not_parsed_as_part_of_the_type(key: str) -> None:
    assert split_subject(f"{TYPE}.{key}") == (TYPE, key)


def test_a_message_without_a_time_is_dated_1970() -> None:
    assert parse(TYPE, {"ce-id": "e"}, b"").occurred_at == datetime.fromtimestamp(0, UTC)


def test_a_time_without_a_zone_is_utc() -> None:
    found = parse(TYPE, {"ce-id": "e", "ce-time": "2026-01-02T12:00:00"}, b"").occurred_at
    assert found == NOON
    assert found.tzinfo is not None


def test_a_time_in_another_zone_is_the_same_moment() -> None:
    beijing = NOON.astimezone(timezone(timedelta(hours=8))).isoformat()
    assert parse(TYPE, {"ce-id": "e", "ce-time": beijing}, b"").occurred_at == NOON


@pytest.mark.parametrize("time", ["", "noon", "2026-13-01T00:00:00Z"])
def test_a_message_with_an_invalid_time_is_malformed(time: str) -> None:
    with pytest.raises(MalformedEnvelope, match="ce-time"):
        parse(TYPE, {"ce-id": "e", "ce-time": time}, b"")


@pytest.mark.parametrize("header", ["Nats-Stream", "Nats-Subject", "Nats-Sequence"])
def test_a_copy_of_a_stored_message_is_malformed(header: str) -> None:
    """A direct reply may be sent to another publisher's subject, with authentic headers."""
    headers = {"ce-id": "evt_1", "ce-type": "payment.v1.PaymentCompleted", header: "INTERVIEW"}
    with pytest.raises(MalformedEnvelope, match="copy of a stored message"):
        parse("payment.v1.PaymentCompleted.ord_1", headers, b"")
