"""Logs the lines of calls to standard error in one of three ways; prints the CPU time."""

import json
import logging
import os
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import orjson
import structlog

import runtime.logging
from runtime import redaction
from runtime.ids import new_id
from shared_model.access_code import mask_access_codes

_CALLS = 1_000  # different ones
_STANDARD_ERROR = 2
Log = Callable[[dict[str, Any]], None]


def _ours() -> Log:
    redaction.add_rule(mask_access_codes)
    runtime.logging.configure("payment", "INFO", "json")
    log = structlog.get_logger("calls")

    def write(fields: dict[str, Any]) -> None:
        log.info("call", **fields)

    return write


def _entry(fields: dict[str, Any]) -> dict[str, Any]:
    return {
        "service": "payment", **fields, "event": "call", "level": "info", "logger": "calls",
        "timestamp": datetime.now(UTC).isoformat(),
    }  # fmt: skip


def _bare() -> Log:
    def write(fields: dict[str, Any]) -> None:
        line = orjson.dumps(_entry(fields), option=orjson.OPT_APPEND_NEWLINE)
        os.write(_STANDARD_ERROR, line)

    return write


def _standard() -> Log:
    class Formatter(logging.Formatter):
        def format(self, record: logging.LogRecord) -> str:
            return json.dumps(record.__dict__["entry"], ensure_ascii=False)

    handler = logging.StreamHandler()
    handler.setFormatter(Formatter())
    logging.basicConfig(handlers=[handler], level=logging.INFO)
    log = logging.getLogger("calls")

    def write(fields: dict[str, Any]) -> None:
        log.info("call", extra={"entry": _entry(fields)})

    return write


_WAYS = {"ours": _ours, "bare": _bare, "standard": _standard}


def _calls() -> list[dict[str, Any]]:
    """The fields of the lines of different calls."""
    return [
        {
            "trace_id": os.urandom(16).hex(), "caller": "storefront", "order_id": new_id("ord"),
            "method": "/payment.v1.AccessCodeService/ValidateAccessCode", "status": "OK",
            "duration_ms": number / 100, "peer": f"ipv4:127.0.0.1:{50_000 + number % 10}",
        }
        for number in range(_CALLS)
    ]  # fmt: skip


def _log_lines(log: Log, count: int) -> float:
    calls = _calls()
    started = time.process_time()
    for number in range(count):
        log(calls[number % _CALLS])
    for handler in logging.root.handlers:
        handler.flush()
    return time.process_time() - started


if __name__ == "__main__":
    seconds = _log_lines(_WAYS[sys.argv[1]](), int(sys.argv[2]))
    print(json.dumps({"cpu_seconds": seconds}))  # noqa: T201
