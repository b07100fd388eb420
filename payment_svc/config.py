"""payment's settings."""

from datetime import timedelta
from typing import Self

from pydantic import Field, SecretStr, model_validator
from pydantic_settings import SettingsConfigDict

from runtime.addresses import CallTarget, HttpProxy
from runtime.rpc.client import Peer
from runtime.setting_values import OptionalFile, RequiredSecret
from runtime.settings import ServiceSettings


class PaymentSettings(ServiceSettings):
    """The settings PAYMENT_…; durations are seconds."""

    model_config = SettingsConfigDict(env_prefix="PAYMENT_", extra="ignore")

    provider_target: CallTarget = Field(description="host:port of the payment provider")
    provider_tls_roots: OptionalFile = Field(
        None,
        description="PEM file of the roots to trust in calls to the payment provider; none:"
        " without TLS",
    )
    provider_http_proxy: HttpProxy = Field(
        "",
        description="http://host:port of the proxy to the payment provider; empty: none",
    )
    provider_secret: RequiredSecret = Field(
        description="secret that signs the provider's notifications"
    )
    provider_secret_old: SecretStr = Field(
        SecretStr(""),
        description="previous secret, also valid during a rotation; empty for none",
    )
    provider_timeout_seconds: float = Field(
        10.0, gt=0, description="seconds that a request to the provider may take"
    )
    reconciliation_interval_seconds: float = Field(
        5.0,
        gt=0,
        description="seconds between two searches for due payments and refunds",
    )
    reconciliation_retry_seconds: float = Field(
        15.0,
        gt=0,
        description="seconds until an open payment is queried, and between two requests for the"
        " same payment or refund; more than PAYMENT_PROVIDER_TIMEOUT_SECONDS",
    )
    refund_request_repeat_seconds: float = Field(
        30.0,
        gt=0,
        description="seconds until an unanswered refund request is repeated",
    )
    refund_overdue_seconds: float = Field(
        900.0,
        gt=0,
        description="seconds until an open refund is reported as overdue",
    )
    expiry_interval_seconds: float = Field(
        5.0, gt=0, description="seconds between two expirations of orders and access codes"
    )
    webhook_interval_seconds: float = Field(
        1.0,
        gt=0,
        description="seconds between two searches for unprocessed notifications; a new one is"
        " processed at once",
    )
    time_to_pay_seconds: float = Field(
        1800.0, gt=0, description="seconds until an unpaid order expires"
    )

    def provider(self) -> Peer:
        """The payment provider."""
        return Peer(
            self.provider_target, "provider", self.provider_tls_roots, self.provider_http_proxy
        )

    def time_to_pay(self) -> timedelta:
        """The time after which an unpaid order expires."""
        return timedelta(seconds=self.time_to_pay_seconds)

    def refund_repeat_after(self) -> timedelta:
        """The time after which an unanswered refund request is repeated."""
        return timedelta(seconds=self.refund_request_repeat_seconds)

    def refund_overdue_after(self) -> timedelta:
        """The age at which an open refund is overdue."""
        return timedelta(seconds=self.refund_overdue_seconds)

    def provider_secrets(self) -> tuple[str, str]:
        """The valid secrets for the provider's signatures; an empty one is not valid."""
        return self.provider_secret.get_secret_value(), self.provider_secret_old.get_secret_value()

    @model_validator(mode="after")
    def _retry_after_timeout(self) -> Self:
        if self.reconciliation_retry_seconds <= self.provider_timeout_seconds:
            raise ValueError(
                "reconciliation_retry_seconds must be more than provider_timeout_seconds"
            )
        return self
