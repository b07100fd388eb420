"""Settings of the sandbox payment provider."""

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from runtime.addresses import CallTarget
from runtime.rpc.client import Peer
from runtime.setting_values import RequiredFile, RequiredSecret
from runtime.settings import CallSettings


class ProviderSettings(CallSettings):
    """Environment variables with the prefix PROVIDER_. Durations are in seconds."""

    model_config = SettingsConfigDict(env_prefix="PROVIDER_", extra="ignore")

    database: RequiredFile = Field(description="SQLite file of the ledger; created if missing")
    webhook_target: CallTarget = Field(
        description="host:port of payment, which receives the webhooks"
    )
    webhook_secret: RequiredSecret = Field(description="key that signs webhooks")
    late_seconds: float = Field(2.0, ge=0, description="delay of a deferred capture or refund")
    slow_seconds: float = Field(3.0, ge=0, description="delay of the response of a slow charge")

    def payment(self) -> Peer:
        """payment, which receives the webhooks."""
        return Peer(self.webhook_target, "payment", self.tls_roots)
