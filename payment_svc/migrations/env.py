"""Alembic environment of the schema payment."""

from payment_svc.storage.tables import metadata
from runtime.database.migrate import run_environment

run_environment(metadata)
