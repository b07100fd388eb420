"""The services by name."""

from enum import StrEnum


class Service(StrEnum):
    """A service; its value is the name in addresses, options, schemas and event subjects."""

    PAYMENT = "payment"
    INTERVIEW = "interview"
    NOTIFICATION = "notification"

    @property
    def stream(self) -> str:
        """The JetStream stream that holds the service's events."""
        return self.name

    def subject(self, key: str) -> str:
        """The subject filter that matches all of the service's events with a key."""
        return f"{self.value}.v1.*.{key}"
