"""The logs of a process: outages of the infrastructure are warnings in one line."""

import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from runtime.logging import configure


@pytest.fixture
def restored_logging(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Logging is as before after the test."""
    monkeypatch.setattr(logging.root, "level", logging.root.level)
    yield
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()


def logged(
    error: Exception, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> list[dict[str, Any]]:
    """The entries of an error that the product and a library log, in the three possible ways."""
    monkeypatch.setattr(logging.root, "handlers", [])  # pytest adds its own before each test
    configure("payment", "INFO", "json")
    log = structlog.get_logger("product")
    log.error("work failed", exc_info=error)
    try:
        raise error
    except type(error):
        log.exception("work failed")
        logging.getLogger("library").exception("work failed")
    return [json.loads(line) for line in capsys.readouterr().err.splitlines()]


@pytest.mark.usefixtures("restored_logging")
def test_an_outage_is_a_warning_without_a_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    entries = logged(ConnectionResetError("the database is away"), monkeypatch, capsys)
    assert len(entries) == 3
    for entry in entries:
        assert (entry["event"], entry["level"]) == ("work failed", "warning")
        assert entry["error"] == "ConnectionResetError: the database is away"
        assert "exception" not in entry


@pytest.mark.usefixtures("restored_logging")
def test_a_defect_is_an_error_with_its_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    entries = logged(ValueError("a defect"), monkeypatch, capsys)
    assert len(entries) == 3
    for entry in entries:
        assert entry["level"] == "error"
        assert "ValueError: a defect" in entry["exception"]
