"""Which release wrote an event, which one published it, and which one handled it."""

from dataclasses import dataclass

from devstack.servers.postgres import SERVICES
from tests.deploy.upgrades.replicas import Replicas
from tests.system.drivers.running_stack import RunningStack

# Types of events, and the methods of which a call writes one.
_METHODS = {
    "payment.v1.PaymentCompleted": ("CreatePayment", "IngestPaymentNotification"),
    "payment.v1.RefundRequested": ("CreateRefund",),
    "interview.v1.InterviewStarted": ("StartSession",),
}


@dataclass(frozen=True)
class Way:
    """An event's way; each release by its name. `consumer` is the service that handled it."""

    event_type: str
    writer: str
    consumer: str
    publisher: str
    handler: str


async def ways(stack: RunningStack, replicas: Replicas) -> list[Way]:
    """The ways of all events that calls wrote and that were handled.

    Told by the log lines of the replicas: of the call with the event's trace, of the event as
    published, and of the event as handled.
    """
    calls: dict[tuple[str, str, str], str] = {}
    published: dict[str, str] = {}
    handled: list[tuple[str, str, str]] = []
    for entry in replicas.entries():
        fields, name = entry.fields, entry.release.name
        match fields["event"]:
            case "call" if fields["status"] == "OK":
                method = fields["method"].rpartition("/")[2]
                calls[entry.service, fields["trace_id"], method] = name
            case "event published":
                published[fields["event_id"]] = name
            case "event handled":
                handled.append((fields["event_id"], entry.service, name))
    written = await _written(stack, calls)
    return [
        Way(*written[event_id], consumer, published[event_id], handler)
        for event_id, consumer, handler in handled
        if event_id in written and event_id in published
    ]


async def _written(
    stack: RunningStack, calls: dict[tuple[str, str, str], str]
) -> dict[str, tuple[str, str]]:
    """The type and the writer of each published event that a call wrote, by the event's id."""
    written = {}
    for service in SERVICES:
        rows = await stack.fetch_rows(
            f"SELECT id, type, traceparent FROM {service}.outbox_published"  # noqa: S608
            " WHERE type = ANY($1)",
            list(_METHODS),
        )
        for row in rows:
            trace = row["traceparent"][3:35]
            for method in _METHODS[row["type"]]:
                if writer := calls.get((service, trace, method)):
                    written[row["id"]] = row["type"], writer
    return written
