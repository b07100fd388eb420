"""The stack's environment variables: what cannot be used is one line and exit status 2."""

import pytest
from typer.testing import CliRunner

from devstack.__main__ import app
from devstack.settings import Settings


@pytest.mark.parametrize("command", ["up", "demo"])
@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("DEVSTACK_POSTGRES_URL", "postgresql://postgres:secret@host:abc/postgres"),
        ("DEVSTACK_POSTGRES_URL", "mysql://postgres:secret@host/postgres"),
        ("DEVSTACK_PAYMENT_PORT", "many"),
        ("DEVSTACK_SMTP_PORT", "70000"),
    ],
)
def test_an_unusable_variable_is_one_line_and_status_2(
    command: str, variable: str, value: str
) -> None:
    result = CliRunner().invoke(app, [command], env={variable: value})
    assert result.exit_code == 2
    assert result.stderr.startswith(f"devstack: environment variable {variable}: ")
    assert len(result.stderr.splitlines()) == 1
    assert "secret" not in result.output


def test_a_server_of_ones_own_is_taken_with_its_tls_parameters() -> None:
    url = "postgres://admin:secret@db.example/postgres?sslmode=require"
    settings = Settings.from_environment({"DEVSTACK_POSTGRES_URL": url})
    assert str(settings.postgres_url) == url.replace("postgres:", "postgresql:")
