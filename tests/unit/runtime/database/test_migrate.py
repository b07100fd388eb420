"""The migration command refuses what it cannot use before it connects."""

import sys

import pytest

from runtime.database import migrate

VARIABLE = "PAYMENT_OWNER_DATABASE_URL"


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        (None, f"migrate: environment variable {VARIABLE} is not set\n"),
        ("postgresql://me:secret@host:abc/shop", "its port is not a number from 1 to 65535\n"),
        ("", "it is not of the form postgresql://user:password@host/name\n"),
    ],
)
def test_an_unusable_url_is_one_line_and_status_2(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    url: str | None,
    problem: str,
) -> None:
    monkeypatch.setattr(sys, "argv", ["migrate", "payment_svc"])
    monkeypatch.delenv(VARIABLE, raising=False)
    if url is not None:
        monkeypatch.setenv(VARIABLE, url)
    with pytest.raises(SystemExit) as ended:
        migrate.main()
    message = capsys.readouterr().err
    assert ended.value.code == 2
    assert message.endswith(problem)
    assert VARIABLE in message
    assert "secret" not in message


@pytest.mark.parametrize("package", ["none_svc", "runtime", "a.b", "../payment_svc"])
@pytest.mark.parametrize("before", [(), ("payment_svc",)])
def test_a_package_without_migrations_is_a_wrong_call(
    monkeypatch: pytest.MonkeyPatch, before: tuple[str, ...], package: str
) -> None:
    """Nothing is migrated, also not the packages before it."""
    monkeypatch.setattr(migrate, "_migrate", pytest.fail)
    monkeypatch.setattr(sys, "argv", ["migrate", *before, package])
    with pytest.raises(SystemExit) as ended:
        migrate.main()
    assert ended.value.code == 2


@pytest.mark.parametrize("seconds", ["0", "-1", "nan", "soon", "1e9"])
def test_a_limit_that_is_none_is_a_wrong_call(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], seconds: str
) -> None:
    """PostgreSQL takes 0 for no limit."""
    monkeypatch.setattr(sys, "argv", ["migrate", "payment_svc", f"--lock-seconds={seconds}"])
    with pytest.raises(SystemExit) as ended:
        migrate.main()
    assert ended.value.code == 2
    assert "--lock-seconds: invalid" in capsys.readouterr().err


def test_the_sql_is_printed_without_a_database(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As it runs, with its time limits."""
    monkeypatch.setattr(sys, "argv", ["migrate", "payment_svc", "--sql"])
    migrate.main()
    printed = capsys.readouterr().out
    assert printed.index("SET LOCAL lock_timeout") < printed.index("CREATE TABLE payment.orders")
