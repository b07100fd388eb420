"""Prints the texts that people read: run by test_docstrings.py, with and without docstrings."""

import ast
import importlib
import json
import logging
from collections.abc import Iterator
from pathlib import Path

import structlog
import typer
from google.rpc import status_pb2
from typer.testing import CliRunner

import devstack.__main__
import opsctl.command_line
from interview_svc.grpc_server.errors import ERRORS as INTERVIEW
from notification_svc.grpc_server.errors import ERRORS as NOTIFICATION
from payment_svc.grpc_server.errors import ERRORS as PAYMENT
from runtime.ops.errors import ERRORS as OPS
from runtime.rpc.errors import ErrorMapper
from sandbox_provider.grpc_server import ERRORS as SANDBOX

ROOT = Path(__file__).parents[2]
TABLES = {
    "payment.v1": PAYMENT,
    "interview.v1": INTERVIEW,
    "notification.v1": NOTIFICATION,
    "ops.v1": OPS,
    "sandbox.v1": SANDBOX,
}
# Besides the libraries runtime, eventbus, shared_model and clients.
PROGRAMS = (
    "payment_svc",
    "interview_svc",
    "notification_svc",
    "sandbox_provider",
    "opsctl",
    "devstack",
)
PACKAGES = (*PROGRAMS, "runtime", "eventbus", "shared_model", "clients")


def product_files() -> Iterator[Path]:
    for package in PACKAGES:
        yield from sorted((ROOT / package).rglob("*.py"))


def errors_without_text() -> Iterator[type[Exception]]:
    """The classes of the errors that are raised without a text of their own."""
    for path in product_files():
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            raised = node.exc if isinstance(node, ast.Raise) else None
            if isinstance(raised, ast.Call) and not raised.args and not raised.keywords:
                raised = raised.func
            if isinstance(raised, ast.Name):
                module = importlib.import_module(
                    ".".join(path.relative_to(ROOT).with_suffix("").parts)
                )
                error = getattr(module, raised.id, None)
                if isinstance(error, type):
                    yield error


def error_texts() -> dict[str, str]:
    """What a caller reads, by contract and class."""
    texts = {}
    for error in errors_without_text():
        for domain, table in TABLES.items():
            status = ErrorMapper(table).status(error(), domain)
            full = status_pb2.Status.FromString(
                dict(status.trailing_metadata)["grpc-status-details-bin"]
            )
            if not full.message.startswith("unexpected error"):
                texts[f"{domain} {error.__name__}"] = full.message
    return texts


def help_texts() -> dict[str, str]:
    """The help of every command."""
    texts = {}
    for name, app in (
        ("opsctl", opsctl.command_line.app),
        ("devstack", devstack.__main__.app),
    ):
        for arguments in command_paths(typer.main.get_command(app)):
            result = CliRunner().invoke(app, [*arguments, "--help"], env={"COLUMNS": "100"})
            texts[" ".join([name, *arguments])] = result.output
    return texts


def command_paths(command: object, *path: str) -> Iterator[tuple[str, ...]]:
    yield path
    for name, child in getattr(command, "commands", {}).items():
        yield from command_paths(child, *path, name)


if __name__ == "__main__":
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    print(json.dumps({"errors": error_texts(), "help": help_texts()}))  # noqa: T201
