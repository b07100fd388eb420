"""Alembic's environment for notification's schema."""

from notification_svc.storage.tables import metadata
from runtime.database.migrate import run_environment

run_environment(metadata)
