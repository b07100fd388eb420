"""payment's settings."""

from typing import Self

from pydantic import Field, SecretStr, model_validator
from pydantic_settings import SettingsConfigDict

from runtime.settings import ServiceSettings


class PaymentSettings(ServiceSettings):
    """Read from the environment variables PAYMENT_…."""

    model_config = SettingsConfigDict(env_prefix="PAYMENT_", extra="ignore")

    provider_target: str = Field(description="host:port of the payment provider")
    provider_secret: SecretStr = Field(description="signs the provider's notifications")
    provider_seconds: float = Field(10.0, gt=0, description="how long to wait for its answer")
    reconcile_seconds: float = Field(5.0, gt=0, description="how often open payments are looked at")
    reconcile_after: float = Field(15.0, gt=0, description="age at which they are asked about")

    @model_validator(mode="after")
    def _patient(self) -> Self:
        if self.reconcile_after <= self.provider_seconds:
            raise ValueError("reconcile_after must be more than provider_seconds")
        return self
