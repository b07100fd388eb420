"""The logs of a process: one line per entry, secrets masked, outages as warnings in one line."""

import dataclasses
import json
import logging
import sys
import threading
from collections.abc import Callable, Iterator
from contextvars import copy_context
from datetime import datetime
from typing import Any

import pytest
import structlog

from runtime.log_context import add_log_fields
from runtime.logging import configure

CODE = "7ZK4-0PQX-M2A9-E5TB"
TOKEN = "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJsaS5odWEifQ.c2lnbmF0dXJl"
# Each kind of secret in a text, and what must not be left of it.
SECRETS = {
    "access code": (f"code {CODE} used", "7ZK4-0PQX"),
    "mail address": ("to ada.lovelace@example.org", "ada.lovelace"),
    "address with quotes": ('to "ada lovelace"@example.org', "ada lovelace"),
    "signed token": (f"Bearer {TOKEN}", "c2lnbmF0dXJl"),
    "token in a name": (f"token_{TOKEN}", "c2lnbmF0dXJl"),
    "password of an address": ("postgresql://payment:hunter2@db/name", "hunter2"),
    "card number": ("card 4111 1111 1111 1111", "4111 1111 1111"),
    "row of a database": ("DETAIL:  Failing row contains (1, 李华).", "李华"),
    "parameter of a statement": ("invalid input for query argument $3: '李华' (int)", "李华"),
}
Log = Callable[[str], None]
log = structlog.get_logger("product")
library = logging.getLogger("library")


@dataclasses.dataclass
class Holder:
    """An object in a log entry."""

    text: str


def fail(text: str) -> None:
    raise ValueError(text)


def _in_a_traceback(text: str) -> None:
    try:
        try:
            fail(text)
        except ValueError as error:
            raise KeyError("no") from error
    except KeyError:
        log.exception("work failed")


def _in_a_library_traceback(text: str) -> None:
    try:
        fail(text)
    except ValueError:
        library.exception("work failed")


def _in_the_context(text: str) -> None:
    def work() -> None:
        add_log_fields(order_id=text)
        log.info("work done")

    copy_context().run(work)


def _in_a_thread(text: str) -> None:
    thread = threading.Thread(target=fail, args=(text,))
    thread.start()
    thread.join()


PLACES: dict[str, Log] = {
    "event": lambda text: log.info(f"work {text}"),  # noqa: G004
    "argument of the event": lambda text: log.info("work: %s", text),
    "unknown field": lambda text: log.info("work", anything=text),
    "field of an id": lambda text: log.info("work", order_id=text, trace_id=text, key=text),
    "field of a name": lambda text: log.info("work", method=text, status=text, peer=text),
    "context": _in_the_context,
    "nested dictionary": lambda text: log.info("work", a={"b": {"c": text}}),
    "list": lambda text: log.info("work", a=[1, [text]]),
    "tuple and set": lambda text: log.info("work", a=(text,), b={text}),
    "key": lambda text: log.info("work", a={text: 1}, b={(1, text): 2}),
    "deep nesting": lambda text: log.info("work", a=nested(text)),
    "object": lambda text: log.info("work", a=Holder(text), b=text.encode(), c=ValueError(text)),
    "error": lambda text: log.error("work failed", exc_info=ValueError(text)),
    "outage": lambda text: log.error("work failed", exc_info=ConnectionResetError(text)),
    "traceback": _in_a_traceback,
    "library": lambda text: library.warning(f"work {text}"),
    "argument of a library": lambda text: library.warning("work of %s", text),
    "wrong arguments of a library": lambda text: library.warning("no place", text),
    "traceback of a library": _in_a_library_traceback,
    "thread": _in_a_thread,
}


def nested(value: Any, depth: int = 40) -> Any:
    return [nested(value, depth - 1)] if depth else value


@pytest.fixture
def entries(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Iterator[Callable[[], list[dict[str, Any]]]]:
    """Configures logging, which is as before after the test; reads the entries logged so far."""
    monkeypatch.setattr(logging.root, "level", logging.root.level)
    monkeypatch.setattr(logging.root, "handlers", [])  # pytest adds its own before each test
    for module, hook in ((sys, "excepthook"), (sys, "unraisablehook"), (threading, "excepthook")):
        monkeypatch.setattr(module, hook, getattr(module, hook))
    configure("payment", "INFO", "json")
    [handler] = logging.root.handlers
    # Pytest's own handler at the root fails where a record cannot be rendered.
    monkeypatch.setattr(library, "callHandlers", handler.handle)

    def read() -> list[dict[str, Any]]:
        handler.flush()
        return [json.loads(line) for line in capfd.readouterr().err.split("\n")[:-1]]

    yield read
    handler.close()
    logging.captureWarnings(capture=False)
    structlog.reset_defaults()


Entries = Callable[[], list[dict[str, Any]]]


@pytest.fixture(autouse=True)
def fresh_logger(monkeypatch: pytest.MonkeyPatch) -> None:
    """A logger keeps the configuration of its first use."""
    monkeypatch.setitem(globals(), "log", structlog.get_logger("product"))
    monkeypatch.setattr("runtime.logging._log", structlog.get_logger("runtime.logging"))


def log_error_in_three_ways(error: Exception) -> None:
    log.error("work failed", exc_info=error)
    try:
        raise error
    except type(error):
        log.exception("work failed")
        library.exception("work failed")


def test_an_outage_is_a_warning_without_a_traceback(entries: Entries) -> None:
    log_error_in_three_ways(ConnectionResetError("the database is away"))
    logged = entries()
    assert len(logged) == 3
    for entry in logged:
        assert (entry["event"], entry["level"]) == ("work failed", "warning")
        assert entry["error"] == "ConnectionResetError: the database is away"
        assert "exception" not in entry


def test_a_defect_is_an_error_with_its_traceback(entries: Entries) -> None:
    log_error_in_three_ways(ValueError("a defect"))
    logged = entries()
    assert len(logged) == 3
    for entry in logged:
        assert entry["level"] == "error"
        assert "ValueError: a defect" in entry["exception"]


def test_an_entry_names_service_level_logger_and_time(entries: Entries) -> None:
    log.info("work done", count=3)
    library.warning("%s is old", "it")
    [own, foreign] = entries()
    times = [datetime.fromisoformat(entry.pop("timestamp")) for entry in (own, foreign)]
    assert own == {
        "service": "payment", "event": "work done", "count": 3,
        "level": "info", "logger": "product",
    }  # fmt: skip
    assert foreign == {
        "service": "payment", "event": "it is old", "level": "warning", "logger": "library",
    }  # fmt: skip
    assert all(time.utcoffset().total_seconds() == 0 for time in times)
    assert times == sorted(times)


def test_lines_for_people_are_masked_too(
    entries: Entries, capfd: pytest.CaptureFixture[str]
) -> None:
    assert entries() == []
    configure("payment", "INFO", "console")
    structlog.get_logger("people").warning(f"code {CODE}", recipient="ada@example.org")
    text = capfd.readouterr().err
    assert "****-****-****-E5TB" in text
    assert "***@example.org" in text
    assert (CODE in text, "ada" in text) == (False, False)


def test_entries_below_the_level_are_left_out(entries: Entries) -> None:
    log.debug("detail")
    library.debug("detail")
    library.info("work done")
    assert [entry["event"] for entry in entries()] == ["work done"]


def test_entries_of_product_and_libraries_stay_in_order(entries: Entries) -> None:
    for number in range(100):
        (log if number % 3 else library).info(str(number))
    assert [entry["event"] for entry in entries()] == [str(number) for number in range(100)]


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("kind", SECRETS)
def test_a_secret_is_masked_wherever_it_is_logged(kind: str, place: str, entries: Entries) -> None:
    text, secret = SECRETS[kind]
    PLACES[place](text)
    logged = entries()
    assert len(logged) == 1
    assert secret not in json.dumps(logged, ensure_ascii=False)
    assert secret not in json.dumps(logged)


@pytest.mark.parametrize("name", ["password", "token", "Authorization", "email", "access_code"])
@pytest.mark.parametrize("value", ["hunter2", ["hunter2"], {"a": "hunter2"}, b"hunter2"])
def test_a_field_with_the_name_of_a_secret_is_masked_whatever_it_holds(
    name: str, value: Any, entries: Entries
) -> None:
    log.info("work", **{name: value}, inner=[{name: value}])
    assert "hunter2" not in str(entries())


@pytest.mark.parametrize(
    ("value", "logged"),
    [
        ("a\nb\r\x00\x1b\u2028", "a\nb\r\x00\x1b\u2028"),
        ("half \ud83d pair", "half ? pair"),
        (b"\xff", r"b'\xff'"),
        (float("nan"), "nan"),
        (float("-inf"), "-inf"),
        (2**63, 2**63),
        (10**30, hex(10**30)),
        pytest.param(1 << 20000, hex(1 << 20000), id="huge"),
        (True, True),
        (None, None),
        ({1: {None: 2}}, {"1": {"None": 2}}),
        ((1, "a"), [1, "a"]),
        (logging.INFO, 20),
    ],
)
def test_any_value_is_logged_in_one_line(value: Any, logged: Any, entries: Entries) -> None:
    log.info("work", value=value)
    library.info(value)
    [own, foreign] = entries()
    assert own["value"] == logged
    assert foreign["level"] == "info"


def test_a_value_that_cannot_be_shown_loses_no_line(entries: Entries) -> None:
    class Broken:
        def __repr__(self) -> str:
            raise ValueError(CODE)

    endless: list[Any] = []
    endless.append(endless)
    log.info("work", broken=Broken(), endless=endless)
    [entry] = entries()
    assert entry["broken"] == "<Broken without repr: ValueError>"
    assert "[...]" in str(entry["endless"])


def test_an_error_logged_outside_its_handler_loses_no_line(entries: Entries) -> None:
    log.error("work failed", exc_info=True)  # noqa: LOG014  the mistake of a caller
    library.error("work failed", exc_info=True)
    assert [entry["event"] for entry in entries()] == ["work failed", "work failed"]


@pytest.mark.parametrize("logger", [log, library], ids=["product", "library"])
def test_the_stack_of_a_call_is_logged_if_it_asks_for_it(logger: Any, entries: Entries) -> None:
    logger.info("work done", stack_info=True)
    logger.info("work done", stack_info=False)
    [with_stack, without_stack] = entries()
    assert "test_the_stack_of_a_call" in with_stack["stack"].splitlines()[-2]
    assert "stack_info" not in with_stack
    assert not {"stack", "stack_info"} & without_stack.keys()


def test_fields_of_the_context_are_logged_until_its_end(entries: Entries) -> None:
    def work() -> None:
        add_log_fields(trace_id="t1", caller="")
        log.info("work", caller="storefront")
        library.info("work")

    copy_context().run(work)
    log.info("work")
    inside, foreign, after = entries()
    assert (inside["trace_id"], inside["caller"]) == ("t1", "storefront")
    assert (foreign["trace_id"], foreign["caller"]) == ("t1", "")
    assert "trace_id" not in after


def test_a_long_text_is_cut(entries: Entries) -> None:
    """To search megabytes for secrets would stop the process for seconds."""
    log.info("work", text="x" * 1_000_000)
    [entry] = entries()
    assert entry["text"].startswith("x" * 60_000)
    assert entry["text"].endswith("… (934464 more characters)")


def test_errors_about_calls_that_clients_gave_up_are_not_logged(entries: Entries) -> None:
    grpc_log = logging.getLogger("grpc._cython.cygrpc")
    grpc_log.error("ExecuteBatchError raised in core by servicer method [/a.B/C]")
    grpc_log.error("another error")
    assert [entry["event"] for entry in entries()] == ["another error"]
