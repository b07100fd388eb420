"""Conversion to messages of ops.v1: dead letters, findings, ages."""

from collections.abc import Sequence
from datetime import timedelta

from google.protobuf.duration_pb2 import Duration

from eventbus.dead_letters.store import DeadLetter
from eventbus.reconciliation import Findings, MissingEvent
from ops.v1 import ops_service_pb2
from runtime.protobuf import to_timestamp
from runtime.redaction import mask

_MAX_FINDINGS = 1000


def duration(seconds: float) -> Duration:
    """Seconds as a protobuf Duration, never negative."""
    message = Duration()
    message.FromTimedelta(timedelta(seconds=max(0.0, seconds)))
    return message


def dead_letter(stored: DeadLetter) -> ops_service_pb2.DeadLetter:
    """A dead letter without its data."""
    return ops_service_pb2.DeadLetter(
        dead_letter_id=stored.dead_letter_id,
        consumer=stored.consumer,
        event_id=stored.event_id,
        event_type=stored.event_type,
        subject=stored.subject,
        key=stored.key,
        reason=mask(stored.reason),
        attempts=stored.attempts,
        dead_at=to_timestamp(stored.dead_at),
    )


def findings(found: Findings) -> ops_service_pb2.CheckBusResponse:
    """The findings of a reconciliation; lists are capped."""
    return ops_service_pb2.CheckBusResponse(
        lost=_missing(found.lost),
        unhandled=_missing(found.unhandled),
        published_count=found.published_count,
        message_count=found.message_count,
    )


def _missing(events: Sequence[MissingEvent]) -> list[ops_service_pb2.MissingEvent]:
    return [
        ops_service_pb2.MissingEvent(
            event_id=event.event_id,
            event_type=event.event_type,
            key=event.key,
            stream=event.stream,
            consumer=event.consumer,
            published_at=to_timestamp(event.published_at),
            repaired=event.repaired,
        )
        for event in events[:_MAX_FINDINGS]
    ]
