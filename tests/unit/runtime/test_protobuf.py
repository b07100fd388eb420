"""Contracts at work: messages to events and back, their constraints, and how people see them."""

import json
import re
from datetime import UTC, datetime, timedelta, timezone

import pytest
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from eventbus import Event, MalformedEnvelope
from interview.v1 import events_pb2 as interview_events
from payment.v1 import access_code_pb2, events_pb2, payment_service_pb2
from runtime.ids import new_id
from runtime.ops.event_json import Undecodable, to_json
from runtime.protobuf import NotAnEvent, decoder, to_datetime, to_event, to_timestamp
from runtime.violations import violations

NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)
ULID = "01ARZ3NDEKTSV4RRFFQ69G5FAV"
ORDER, CODE = f"ord_{ULID}", "7ZK4-0PQX-M2A9-E5TB"


def payment_completed(**changes: object) -> events_pb2.PaymentCompleted:
    values = {
        "order_id": ORDER,
        "access_code": CODE,
        "expire_at": to_timestamp(NOON),
        "access_code_id": f"acc_{ULID}",
        "version": 3,
        "product_id": "behavioral-30",
        "recipient": access_code_pb2.Recipient(email="ada@example.org", display_name="Ada"),
        "customer_id": "cus_1",
        "payment_id": f"pay_{ULID}",
        "completed_at": to_timestamp(NOON),
    }
    return events_pb2.PaymentCompleted(**{**values, **changes})


def redeemed(version: int = 7) -> events_pb2.AccessCodeRedeemed:
    record = access_code_pb2.AccessCode(
        id=f"acc_{ULID}",
        code=CODE,
        status=access_code_pb2.ACCESS_CODE_STATUS_REDEEMED,
        expire_at=to_timestamp(NOON),
        order_id=ORDER,
        product_id="behavioral-30",
        version=version,
    )
    return events_pb2.AccessCodeRedeemed(order_id=ORDER, record=record)


def travelled(message: Message, **changes: object) -> Event:
    sent = to_event(message, "payment", NOON)
    values = {"id": sent.id, "type": sent.type, "key": sent.key, "data": sent.data}
    return Event(**{**values, "occurred_at": NOON, "source": "payment", **changes})


def test_an_event_is_keyed_by_the_field_that_its_contract_names() -> None:
    event = to_event(payment_completed(), "payment", NOON)
    assert event.subject == f"payment.v1.PaymentCompleted.{ORDER}"
    assert (event.source, event.occurred_at) == ("payment", NOON)
    assert events_pb2.PaymentCompleted.FromString(event.data) == payment_completed()


def test_an_event_about_the_whole_feed_has_no_key() -> None:
    event = to_event(events_pb2.Watermark(as_of=to_timestamp(NOON)), "payment", NOON)
    assert event.subject == "payment.v1.Watermark"


def test_each_announcement_has_an_id_of_its_own() -> None:
    ids = {to_event(payment_completed(), "payment", NOON).id for _ in range(50)}
    assert len(ids) == 50
    assert all(re.fullmatch(r"evt_[0-9A-HJKMNP-TV-Z]{26}", id_) for id_ in ids)


def test_a_message_that_its_contract_doesnt_mark_is_no_event() -> None:
    with pytest.raises(NotAnEvent):
        to_event(payment_service_pb2.Order(), "payment", NOON)
    with pytest.raises(NotAnEvent):
        decoder(payment_service_pb2.Order)


def test_what_was_announced_is_decoded_as_it_was() -> None:
    message = payment_completed()
    decoded = decoder(events_pb2.PaymentCompleted)(travelled(message))
    assert decoded.payload == message
    assert (decoded.aggregate, decoded.version) == ("access_code", 3)


def test_a_version_may_stand_in_a_record_inside() -> None:
    decoded = decoder(events_pb2.AccessCodeRedeemed)(travelled(redeemed(version=7)))
    assert (decoded.aggregate, decoded.version) == ("access_code", 7)


def test_an_event_without_an_aggregate_has_no_version() -> None:
    message = events_pb2.Watermark(as_of=to_timestamp(NOON))
    decoded = decoder(events_pb2.Watermark)(travelled(message))
    assert (decoded.aggregate, decoded.version) == ("", 0)


@pytest.mark.parametrize("data", [b"\xff", b"\x0a\x05abc", b"\x0a\x02\xff\xfe"])
def test_bytes_that_are_no_such_message_are_malformed(data: bytes) -> None:
    event = travelled(payment_completed(), data=data)
    with pytest.raises(MalformedEnvelope, match=r"not a payment\.v1\.PaymentCompleted"):
        decoder(events_pb2.PaymentCompleted)(event)


def test_a_body_that_violates_its_contract_is_malformed_and_named_by_field() -> None:
    message = payment_completed(version=0, access_code="nonsense")
    with pytest.raises(
        MalformedEnvelope, match=r"access_code must be .*; version must be 1 or more"
    ):
        decoder(events_pb2.PaymentCompleted)(travelled(message))


def test_an_empty_body_is_malformed() -> None:
    with pytest.raises(MalformedEnvelope):
        decoder(events_pb2.PaymentCompleted)(travelled(payment_completed(), data=b""))


@pytest.mark.parametrize("key", ["", "ord_another"])
def test_a_subject_that_names_another_key_than_the_body_is_malformed(key: str) -> None:
    with pytest.raises(MalformedEnvelope, match=r"subject.s key is"):
        decoder(events_pb2.PaymentCompleted)(travelled(payment_completed(), key=key))


def test_a_key_on_an_event_about_the_whole_feed_is_malformed() -> None:
    message = events_pb2.Watermark(as_of=to_timestamp(NOON))
    with pytest.raises(MalformedEnvelope, match=r"subject.s key is"):
        decoder(events_pb2.Watermark)(travelled(message, key="ord_1"))


def test_fields_that_came_later_are_no_trouble() -> None:
    """A newer publisher may say more."""
    event = travelled(payment_completed())
    newer = travelled(payment_completed(), data=event.data + b"\xf8\x07\x01")
    assert decoder(events_pb2.PaymentCompleted)(newer).version == 3


def test_a_message_that_keeps_its_contract_breaks_nothing() -> None:
    assert violations(payment_completed()) == []


def test_violated_constraints_are_named_by_path() -> None:
    message = payment_completed(
        version=0, recipient=access_code_pb2.Recipient(email="nobody", language_code="xx")
    )
    paths = [violation.field for violation in violations(message)]
    assert sorted(paths) == ["recipient.email", "recipient.language_code", "version"]


def test_a_missing_required_field_is_a_violation() -> None:
    message = payment_completed()
    message.ClearField("expire_at")
    assert [violation.field for violation in violations(message)] == ["expire_at"]


@pytest.mark.parametrize("name", ["Ada\nBcc: x@example.org", "a\u202eb", "x" * 101])
def test_a_name_that_could_break_a_mails_header_is_a_violation(name: str) -> None:
    message = payment_completed(
        recipient=access_code_pb2.Recipient(email="a@example.org", display_name=name)
    )
    assert [violation.field for violation in violations(message)] == ["recipient.display_name"]


def test_ids_sort_by_their_making() -> None:
    ids = [new_id("ord") for _ in range(20)]
    assert all(re.fullmatch(r"ord_[0-9A-HJKMNP-TV-Z]{26}", id_) for id_ in ids)
    assert sorted(id_[:14] for id_ in ids) == [id_[:14] for id_ in ids]


@pytest.mark.parametrize("year", [1, 1969, 1970, 2026, 9999])
def test_a_moment_is_converted_as_the_library_does_it(year: int) -> None:
    moment = datetime(year, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC)
    expected = Timestamp()
    expected.FromDatetime(moment)
    assert to_timestamp(moment) == expected
    assert to_timestamp(moment.astimezone(timezone(timedelta(hours=-8)))) == expected
    assert to_datetime(expected) == moment


@pytest.mark.parametrize(
    "timestamp",
    [Timestamp(seconds=253_402_300_800), Timestamp(seconds=-(2**62)), Timestamp(nanos=-5)],
)
def test_a_time_that_is_none_is_an_error(timestamp: Timestamp) -> None:
    with pytest.raises(ValueError, match="not valid"):
        to_datetime(timestamp)


def test_moments_come_back_from_their_messages_in_utc() -> None:
    beijing = NOON.astimezone(timezone(timedelta(hours=8)))
    assert to_datetime(to_timestamp(beijing)) == NOON
    assert to_datetime(to_timestamp(beijing)).utcoffset() == timedelta(0)


def test_an_event_is_shown_as_one_line_of_json_with_its_secrets_masked() -> None:
    shown = to_json("payment.v1.PaymentCompleted", payment_completed().SerializeToString())
    assert "\n" not in shown
    body = json.loads(shown)
    assert body["access_code"] == "****-****-****-E5TB"
    assert body["recipient"]["email"] == "***@example.org"
    assert body["order_id"] == ORDER
    assert body["expire_at"] == "2026-01-02T12:00:00Z"


def test_an_event_is_shown_whole_to_who_asks() -> None:
    data = payment_completed().SerializeToString()
    body = json.loads(to_json("payment.v1.PaymentCompleted", data, reveal=True))
    assert body["access_code"] == CODE
    assert body["recipient"]["email"] == "ada@example.org"


def test_text_of_any_language_is_shown_as_it_is() -> None:
    recipient = access_code_pb2.Recipient(email="a@example.org", display_name="李雷")
    data = payment_completed(recipient=recipient).SerializeToString()
    assert "李雷" in to_json("payment.v1.PaymentCompleted", data)


def test_events_of_each_domain_can_be_shown() -> None:
    data = interview_events.SessionPrepared(order_id=ORDER).SerializeToString()
    assert json.loads(to_json("interview.v1.SessionPrepared", data)) == {"order_id": ORDER}


@pytest.mark.parametrize(
    "event_type",
    [
        "payment.v1.Unheard",
        "nowhere.v1.Event",
        "",
        "Event",
        "..",
        "os",
        ".",
        "payment.v1.",
        "a\x00b.v1.X",
    ],
)
def test_an_unknown_type_cant_be_shown(event_type: str) -> None:
    with pytest.raises(Undecodable, match="unknown type"):
        to_json(event_type, b"")


def test_other_bytes_cant_be_shown() -> None:
    with pytest.raises(Undecodable, match="not a payment"):
        to_json("payment.v1.PaymentCompleted", b"\xff")
