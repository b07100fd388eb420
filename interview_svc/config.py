"""interview's settings."""

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from runtime.addresses import CallTarget, HttpProxy
from runtime.rpc.client import Peer
from runtime.settings import ServiceSettings


class InterviewSettings(ServiceSettings):
    """Read from the environment variables INTERVIEW_…."""

    model_config = SettingsConfigDict(env_prefix="INTERVIEW_", extra="ignore")

    payment_target: CallTarget = Field(description="gRPC target of payment, such as host:port")
    payment_http_proxy: HttpProxy = Field(
        "", description="http://host:port of the proxy to payment; empty: none"
    )
    validation_timeout_seconds: float = Field(
        0.3, gt=0, description="deadline of a validation query to payment, in seconds"
    )
    breaker_failures: int = Field(
        5, ge=1, description="failed validation queries in a row that open the circuit breaker"
    )
    breaker_open_seconds: float = Field(
        1.0, gt=0, description="time until an open circuit breaker admits a probe, in seconds"
    )
    cache_max_staleness_seconds: float = Field(
        3600.0,
        ge=0,
        description="maximum staleness at which the local cache accepts codes, in seconds",
    )
    preview_cache_seconds: float = Field(
        5.0, gt=0, description="time to live of cached CheckAccessCode results, in seconds"
    )
    grace_period_seconds: float = Field(
        300.0, ge=0, description="time of a session beyond that of its questions, in seconds"
    )
    expiry_interval_seconds: float = Field(
        5.0, gt=0, description="interval of expiring sessions, in seconds"
    )
    reconciliation_interval_seconds: float = Field(
        300.0, gt=0, description="interval of the reconciliation with payment, in seconds"
    )
    reconciliation_repair: bool = Field(
        True, description="whether the scheduled reconciliation repairs what it finds"
    )

    def payment(self) -> Peer:
        """payment, which validates access codes."""
        return Peer(self.payment_target, "payment", self.tls_roots, self.payment_http_proxy)
