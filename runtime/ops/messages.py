"""The bus's things as messages of ops.v1: dead letters, findings, ages."""

from collections.abc import Sequence
from datetime import timedelta

from google.protobuf.duration_pb2 import Duration

from eventbus.dead_letters.store import DeadLetter
from eventbus.reconciliation import Findings, MissingEvent
from ops.v1 import ops_service_pb2
from runtime.protobuf import to_timestamp
from runtime.redaction import mask

_MOST_FINDINGS = 1000


def duration(seconds: float) -> Duration:
    """Seconds as a protobuf Duration, never negative."""
    message = Duration()
    message.FromTimedelta(timedelta(seconds=max(0.0, seconds)))
    return message


def dead_letter(letter: DeadLetter) -> ops_service_pb2.DeadLetter:
    """A dead letter without its event."""
    return ops_service_pb2.DeadLetter(
        dead_letter_id=letter.dead_letter_id,
        consumer=letter.consumer,
        event_id=letter.event_id,
        event_type=letter.event_type,
        subject=letter.subject,
        key=letter.key,
        reason=mask(letter.reason),
        attempts=letter.attempts,
        dead_at=to_timestamp(letter.dead_at),
    )


def findings(found: Findings) -> ops_service_pb2.CheckBusResponse:
    """What a check found; of long lists the beginning."""
    return ops_service_pb2.CheckBusResponse(
        lost=_missing(found.lost),
        unhandled=_missing(found.unhandled),
        published_count=found.published_count,
        message_count=found.message_count,
    )


def _missing(all_of_them: Sequence[MissingEvent]) -> list[ops_service_pb2.MissingEvent]:
    return [
        ops_service_pb2.MissingEvent(
            event_id=one.event_id,
            event_type=one.event_type,
            key=one.key,
            stream=one.stream,
            consumer=one.consumer,
            published_at=to_timestamp(one.published_at),
            repaired=one.repaired,
        )
        for one in all_of_them[:_MOST_FINDINGS]
    ]
