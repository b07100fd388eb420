"""interview's settings."""

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from runtime.settings import ServiceSettings


class InterviewSettings(ServiceSettings):
    """Read from the environment variables INTERVIEW_…."""

    model_config = SettingsConfigDict(env_prefix="INTERVIEW_", extra="ignore")

    payment_target: str = Field(description="host:port of payment, or any gRPC target")
    validation_seconds: float = Field(0.3, gt=0, description="deadline for asking payment")
