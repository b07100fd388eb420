"""interview's settings."""

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from runtime.settings import ServiceSettings


class InterviewSettings(ServiceSettings):
    """Read from the environment variables INTERVIEW_…. Durations are seconds."""

    model_config = SettingsConfigDict(env_prefix="INTERVIEW_", extra="ignore")

    payment_target: str = Field(description="host:port of payment, or any gRPC target")
    validation_seconds: float = Field(0.3, gt=0, description="deadline for asking payment")
    breaker_failures: int = Field(5, ge=1, description="outages in a row until nobody asks payment")
    breaker_seconds: float = Field(5.0, gt=0, description="how long nobody asks it then")
    cache_seconds: float = Field(3600.0, ge=0, description="how old our copy may be to decide")
    preview_seconds: float = Field(5.0, gt=0, description="how long a preview is remembered")
    grace_period_seconds: float = Field(
        300.0, ge=0, description="time beyond that of the questions"
    )
    sweep_seconds: float = Field(5.0, gt=0, description="how often the clock's ends are noted")
    consistency_seconds: float = Field(300.0, gt=0, description="how often to compare")
    consistency_repair: bool = Field(True, description="whether the scheduled comparison mends")
