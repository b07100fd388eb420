"""Alembic's environment for interview's schema."""

from interview_svc.storage.tables import metadata
from runtime.migrate import run_environment

run_environment(metadata)
