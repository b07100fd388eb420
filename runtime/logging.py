"""Structured logs: one JSON object per line, secrets masked, outages without tracebacks."""

import logging
import sys
from collections.abc import MutableMapping
from types import TracebackType
from typing import Any

import structlog

from eventbus.errors import describe_error, is_transient
from runtime.redaction import mask_values


def mask_secrets(
    _logger: Any, _method: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """Masks every text of a log entry, including tracebacks."""
    masked: dict[str, Any] = mask_values(dict(event))
    return masked


def shorten_outages(
    _logger: Any, _method: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """Logs an error of the infrastructure as a warning in one line: its traceback says nothing.

    This also covers libraries, for instance a pool that cannot roll back a lost connection.
    """
    error = _error_of(event.get("exc_info"))
    if event.get("level") == "error" and error is not None and is_transient(error):
        del event["exc_info"]
        event.update(level="warning", error=describe_error(error))
    return event


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


def configure(service: str, level: str, style: str) -> None:
    """Writes all logs of the process to standard error in one format.

    Those of libraries too, warnings, and the traceback of an error that ends the process.
    """
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        shorten_outages,
        structlog.processors.format_exc_info,
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level]),
        cache_logger_on_first_use=True,
    )
    renderer: structlog.typing.Processor = (
        structlog.processors.JSONRenderer(ensure_ascii=False)
        if style == "json"
        else structlog.dev.ConsoleRenderer(colors=False)
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                mask_secrets,
                renderer,
            ],
        )
    )
    logging.basicConfig(handlers=[handler], level=level, force=True)
    # The library logs each retry as an error; the bus logs outages itself.
    logging.getLogger("nats").setLevel(logging.CRITICAL)
    # What Python itself would write to standard error.
    logging.captureWarnings(capture=True)
    sys.excepthook = _log_uncaught
    structlog.contextvars.bind_contextvars(service=service)


def _log_uncaught(
    kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    logging.getLogger(__name__).critical("uncaught exception", exc_info=(kind, error, trace))
