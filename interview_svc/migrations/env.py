"""Alembic's environment for interview's schema."""

from interview_svc.storage.tables import metadata
from runtime.database.migrate import run_environment

run_environment(metadata)
