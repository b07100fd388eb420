"""Structured logs: one JSON object per line, secrets masked, outages without tracebacks.

The product's entries go from structlog to the output directly; those of libraries, which use
`logging`, join them at the same output, in the order of the calls.
"""

import json
import logging
import os
import sys
import threading
import time
from collections.abc import MutableMapping, Sequence
from types import TracebackType
from typing import Any

import orjson
import structlog
from structlog.typing import Processor

from eventbus.errors import describe_error, is_transient
from runtime.log_context import log_fields
from runtime.log_writer import LogWriter
from runtime.redaction import mask_entry

_log = structlog.get_logger(__name__)
_STANDARD_ERROR = 2
_LEVELS = {"exception": "error", "warn": "warning", "fatal": "critical"}


def _describe_error(
    logger: Any, method: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """Renders the traceback of an entry's error.

    An error of the infrastructure becomes a warning in one line: its traceback says nothing. This
    also covers libraries, for instance a pool that cannot roll back a lost connection.
    """
    if "exc_info" not in event:
        return event
    error = _error_of(event["exc_info"])
    if event.get("level") == "error" and error is not None and is_transient(error):
        del event["exc_info"]
        event.update(level="warning", error=describe_error(error))
        return event
    return structlog.processors.format_exc_info(logger, method, event)


def _error_of(exc_info: Any) -> BaseException | None:
    """The error of a log call's `exc_info`: an error, a tuple, or True for the current one."""
    match exc_info:
        case BaseException():
            return exc_info
        case (_, BaseException() as error, _):
            return error
        case True:
            return sys.exc_info()[1]
        case _:
            return None


def configure(service: str, level: str, style: str, process: int | None = None) -> None:
    """Writes all logs of the process to standard error in one format.

    `process` is its id if lines of several processes are read together. Logs of libraries are
    written too, warnings, and the traceback of an error that ends the process or a thread. What
    waits to be written is written when the process ends by itself.
    """
    origin = {"service": service} | ({"process": process} if process else {})
    render = _render_json if style == "json" else _ConsoleRenderer()
    processors: list[Processor] = [
        _complete,
        _describe_error,
        structlog.processors.StackInfoRenderer(),
        _Masking(origin),
        render,
    ]
    handler = _StandardHandler(processors)
    structlog.configure(
        processors=processors,
        logger_factory=handler.logger,
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level]),
        cache_logger_on_first_use=True,
    )
    # It closes the handlers before, and logging.shutdown closes this one when the process ends.
    logging.basicConfig(handlers=[handler], level=level, force=True)
    # The library logs each retry as an error; the bus logs outages itself.
    logging.getLogger("nats").setLevel(logging.CRITICAL)
    logging.getLogger("grpc._cython.cygrpc").addFilter(_is_about_no_client)
    # What Python itself would write to standard error.
    logging.captureWarnings(capture=True)
    sys.excepthook = _log_uncaught
    threading.excepthook = _log_uncaught_in_thread
    sys.unraisablehook = _log_unraisable


def write_lines(lines: bytes) -> None:
    """Writes lines of another process between those of this one; `configure` comes before."""
    for handler in logging.getLogger().handlers:
        if isinstance(handler, _StandardHandler):
            handler.write(lines)


def _is_about_no_client(record: logging.LogRecord) -> bool:
    """False for the library's error about a call that its client has given up meanwhile."""
    return not record.getMessage().startswith("ExecuteBatchError raised in core")


def _complete(
    logger: Any, method: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """Adds the fields of the context, the level and the name of the logger."""
    level = _LEVELS.get(method, method)
    return {**log_fields(), **event, "level": level, "logger": logger.name}


class _Masking:
    """Masks an entry; then adds its origin and the time, which hold no secret."""

    def __init__(self, origin: dict[str, Any]) -> None:
        self._origin = origin
        self._date_and_time = (0, "")  # of one second

    def __call__(self, _logger: Any, _method: str, event: Any) -> dict[str, Any]:
        entry = mask_entry(event) | self._origin
        entry["timestamp"] = self._timestamp()
        return entry

    def _timestamp(self) -> str:
        """The time in UTC by ISO 8601; the part to the second is written once per second."""
        second, nanoseconds = divmod(time.time_ns(), 1_000_000_000)
        written = self._date_and_time
        if second != written[0]:
            text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
            self._date_and_time = written = (second, text)
        return f"{written[1]}.{nanoseconds // 1000:06d}Z"


def _render_json(_logger: Any, _method: str, entry: MutableMapping[str, Any]) -> bytes:
    try:
        return orjson.dumps(entry, option=orjson.OPT_APPEND_NEWLINE)
    except orjson.JSONEncodeError:  # a text with half of a surrogate pair, which UTF-8 cannot hold
        return json.dumps(entry, ensure_ascii=False).encode("utf-8", "replace") + b"\n"


class _ConsoleRenderer:
    """Renders entries for people."""

    def __init__(self) -> None:
        self._render = structlog.dev.ConsoleRenderer(colors=False)

    def __call__(self, logger: Any, method: str, entry: MutableMapping[str, Any]) -> bytes:
        text = self._render(logger, method, entry)
        return f"{text}\n".encode("utf-8", "replace")


class _LineLogger:
    """What structlog hands its rendered lines to: those of trouble are written at once."""

    def __init__(self, name: str, writer: LogWriter) -> None:
        self.name, self._writer = name, writer

    def info(self, line: bytes) -> None:
        self._writer.write(line)

    def warning(self, line: bytes) -> None:
        self._writer.write(line, at_once=True)

    debug = info
    error = critical = warning


class _StandardHandler(logging.Handler):
    """Writes the entries of `logging` and of structlog to one output."""

    def __init__(self, processors: Sequence[Processor]) -> None:
        super().__init__()
        self._processors = processors[:]  # structlog's list is emptied to capture logs in tests
        # A closed standard error may be another file by now.
        descriptor = _STANDARD_ERROR if sys.stderr else os.open(os.devnull, os.O_WRONLY)
        self._writer = LogWriter(descriptor, self._dropped_line)

    def logger(self, name: str = "root", *_: Any) -> _LineLogger:
        """The logger of structlog with this name."""
        return _LineLogger(name, self._writer)

    def emit(self, record: logging.LogRecord) -> None:
        """Writes a record; one that cannot be rendered must not fail its caller."""
        try:
            entry: dict[str, Any] = {"event": record.getMessage()}
        except Exception:  # noqa: BLE001  the arguments do not fit: a defect of the library
            entry = {"event": record.msg, "arguments": record.args}
        if record.exc_info:
            entry["exc_info"] = record.exc_info
        if record.stack_info:
            entry["stack"] = record.stack_info
        line = self._rendered(record, record.levelname.lower(), entry)
        self._writer.write(line, at_once=record.levelno >= logging.WARNING)

    def write(self, lines: bytes) -> None:
        """Writes lines that are rendered and masked."""
        self._writer.write(lines)

    def flush(self) -> None:
        """Writes what waits."""
        self._writer.flush()

    def close(self) -> None:
        """Writes what waits; later lines are written at once."""
        self._writer.close()
        super().close()

    def _rendered(self, logger: Any, method: str, entry: Any) -> bytes:
        for processor in self._processors:
            entry = processor(logger, method, entry)
        line: bytes = entry
        return line

    def _dropped_line(self, count: int) -> bytes:
        logger = _LineLogger(__name__, self._writer)
        return self._rendered(logger, "warning", {"event": "log lines dropped", "count": count})


def _log_uncaught(
    kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    _log.critical("uncaught exception", exc_info=(kind, error, trace))


def _log_uncaught_in_thread(failure: threading.ExceptHookArgs) -> None:
    if failure.exc_type is not SystemExit:
        _log.error(
            "uncaught exception in a thread",
            thread=failure.thread.name if failure.thread else None,
            exc_info=(failure.exc_type, failure.exc_value, failure.exc_traceback),
        )


def _log_unraisable(failure: "sys.UnraisableHookArgs") -> None:
    _log.error(
        "exception ignored",
        where=failure.object,
        exc_info=(failure.exc_type, failure.exc_value, failure.exc_traceback),
    )
