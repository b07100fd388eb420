"""The provider's settings."""

from pathlib import Path

from pydantic import Field, SecretStr
from pydantic_settings import SettingsConfigDict

from runtime.settings import CallSettings


class ProviderSettings(CallSettings):
    """Read from the environment variables PROVIDER_…. Durations are seconds."""

    model_config = SettingsConfigDict(env_prefix="PROVIDER_", extra="ignore")

    listen: str = Field(description="host:port of the gRPC server")
    database: Path = Field(description="file of the ledger; made if it isn't there")
    secret: SecretStr = Field(description="signs notifications", min_length=1)
    payment_target: str = Field(description="host:port of payment, which takes notifications")
    late_seconds: float = Field(2.0, ge=0, description="until a sandbox_late charge is captured")
    slow_seconds: float = Field(3.0, ge=0, description="until a sandbox_slow charge is answered")
