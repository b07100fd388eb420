"""payment's settings."""

from datetime import timedelta
from typing import Self

from pydantic import Field, SecretStr, model_validator
from pydantic_settings import SettingsConfigDict

from runtime.settings import ServiceSettings


class PaymentSettings(ServiceSettings):
    """Read from the environment variables PAYMENT_…."""

    model_config = SettingsConfigDict(env_prefix="PAYMENT_", extra="ignore")

    provider_target: str = Field(description="host:port of the payment provider")
    provider_secret: SecretStr = Field(description="signs the provider's notifications")
    provider_secret_old: SecretStr = Field(
        SecretStr(""), description="the one before, while the provider still signs with it"
    )
    provider_seconds: float = Field(10.0, gt=0, description="how long to wait for its answer")
    reconcile_seconds: float = Field(5.0, gt=0, description="how often open payments are looked at")
    reconcile_after: float = Field(
        15.0, gt=0, description="age at which they are asked about, and time between two askings"
    )
    refund_ask_seconds: float = Field(
        30.0,
        gt=0,
        description="how long a refund waits for an answer before it is asked for again",
    )
    refund_overdue_seconds: float = Field(
        900.0, gt=0, description="age at which a refund without outcome is for an operator"
    )
    sweep_seconds: float = Field(
        5.0, gt=0, description="how often codes whose time is over are expired"
    )

    webhook_seconds: float = Field(
        1.0, gt=0, description="how often the provider's notifications are looked for unasked"
    )
    time_to_pay_seconds: float = Field(1800.0, gt=0, description="until an unpaid order lapses")

    def time_to_pay(self) -> timedelta:
        """How long an order waits for its payment."""
        return timedelta(seconds=self.time_to_pay_seconds)

    def provider_secrets(self) -> tuple[str, str]:
        """Those that may sign the provider's notifications; an empty one is none."""
        return self.provider_secret.get_secret_value(), self.provider_secret_old.get_secret_value()

    @model_validator(mode="after")
    def _patient(self) -> Self:
        if self.reconcile_after <= self.provider_seconds:
            raise ValueError("reconcile_after must be more than provider_seconds")
        return self
