"""The service's connection to the broker, by its settings."""

from eventbus.jetstream import JetStream
from runtime.settings import ServiceSettings


def create_broker(config: ServiceSettings, name: str) -> JetStream:
    """A connection as the service's own user, not opened yet."""
    password = config.nats_password.get_secret_value()
    return JetStream(config.nats_url, config.nats_user, password, name)
