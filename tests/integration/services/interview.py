"""interview's consumer of payment's events, with a stream of the test."""

from eventbus import Consumer, ConsumerSettings
from interview_svc import question_bank
from interview_svc.domain.session_factory import SessionFactory
from interview_svc.event_handlers import handler_registry
from interview_svc.storage.tables import bus as tables
from runtime.ids import new_id
from tests.integration.drivers.bus import SHORT_BACKOFF, Bus
from tests.integration.drivers.databases import ServiceDatabase


def interview_consumer(interview: ServiceDatabase, bus: Bus) -> Consumer:
    """It retries failed events soon and as often as it takes."""
    settings = ConsumerSettings(max_attempts=1_000, backoff=SHORT_BACKOFF)
    handlers = handler_registry(SessionFactory(question_bank.load(), lambda: new_id("ses")))
    pool, source = interview.engine, bus.pull_consumer()
    return Consumer(pool, tables, source, handlers, settings)
