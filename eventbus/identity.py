"""Identifies any message of a stream, also one that is not a valid event."""

from typing import NamedTuple

from eventbus.broker import Message
from eventbus.event import MalformedEnvelope, parse, split_subject


class EventIdentity(NamedTuple):
    """Id, type and key of a message's event; type and key are "" if it has none.

    The id is that of the inbox mark. The id of a message that is not a valid event is its position:
    stream and sequence.
    """

    event_id: str
    event_type: str
    key: str


def identify(message: Message) -> EventIdentity:
    """Reads a message's identity, as far as it has one."""
    try:
        event = parse(message.subject, message.headers, message.data)
    except MalformedEnvelope:
        position = f"{message.stream}/{message.stream_sequence}"
        try:
            return EventIdentity(position, *split_subject(message.subject))
        except MalformedEnvelope:
            return EventIdentity(position, "", "")
    return EventIdentity(event.id, event.type, event.key)
