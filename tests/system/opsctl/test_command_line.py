"""Errors, exit statuses and output that all commands of `opsctl` have in common."""

import asyncio
import json
import signal
from pathlib import Path

import pytest

from tests.system.drivers.opsctl import finish, opsctl, run, start
from tests.system.drivers.running_stack import RunningStack

_ULID = "01ARZ3NDEKTSV4RRFFQ69G5FAV"


async def test_without_any_address_the_error_is_one_line(tmp_path: Path) -> None:
    result = await run("status", directory=tmp_path)
    assert "no address of a service is known" in result.error_line()


async def test_without_a_token_the_error_is_one_line(tmp_path: Path) -> None:
    result = await run("--payment", "127.0.0.1:1", "status", directory=tmp_path)
    assert "no token" in result.error_line()
    result = await run("--payment", "127.0.0.1:1", "--token-file", "none", "status")
    assert "cannot be read" in result.error_line()


async def test_an_unreachable_service_is_one_line(shared_stack: RunningStack) -> None:
    result = await opsctl(
        shared_stack, "--payment", "127.0.0.1:1", "republish", "payment", "--since", "1m"
    )
    assert "payment at 127.0.0.1:1 is unreachable" in result.error_line()


async def test_a_service_without_an_address_is_one_line_that_names_the_option(
    tmp_path: Path,
) -> None:
    token = tmp_path / "token"
    token.write_text("a-token")
    result = await run(
        *("--payment", "127.0.0.1:1", "--token-file", str(token)),
        *("retry-parked", "interview"),
        directory=tmp_path,
    )
    assert "give --interview HOST:PORT" in result.error_line()


@pytest.mark.parametrize(
    ("token", "error"),
    [
        ("nonsense", "rejected the token"),
        ("", "contains no token"),
        ("customer", "rejected the token"),
    ],
)
async def test_an_unusable_token_is_one_line(
    shared_stack: RunningStack, tmp_path: Path, token: str, error: str
) -> None:
    file = tmp_path / "token"
    customers = shared_stack.devstack.keys.tokens / "customer"
    file.write_text(customers.read_text("utf-8") if token == "customer" else token)
    result = await opsctl(
        shared_stack, "--token-file", str(file), "republish", "payment", "--since", "1m"
    )
    assert error in result.error_line()


async def test_an_unknown_order_or_dead_letter_is_one_line(shared_stack: RunningStack) -> None:
    result = await opsctl(shared_stack, "dead-letters", "show", f"dlq_{_ULID}")
    assert f"no service has a dead letter dlq_{_ULID}" in result.error_line()
    result = await opsctl(shared_stack, "journey", f"ord_{_ULID}")
    assert f"no service has a record of ord_{_ULID}" in result.error_line()


async def test_refunds_are_listed_with_exit_status_1_only_for_overdue_ones(
    shared_stack: RunningStack,
) -> None:
    result = await opsctl(shared_stack, "refunds", "--limit", "5")
    assert result.status == 0, result
    overdue = await opsctl(shared_stack, "refunds", "--overdue")
    assert overdue.status == (0 if "no refunds" in overdue.out else 1)
    assert overdue.err == ""


@pytest.mark.parametrize(
    "arguments",
    [
        ("journey", "nonsense"),
        ("republish", "payment"),
        ("republish", "payment", "--since", "nonsense"),
        ("republish", "provider", "--since", "1m"),
        ("retry-parked",),
        ("retry-parked", "provider"),
        ("dead-letters", "show", "nonsense"),
        ("dead-letters", "replay"),
        ("dead-letters", "replay", "--all", f"dlq_{_ULID}"),
        ("dead-letters", "replay", "--type", "x", f"dlq_{_ULID}"),
        ("check-bus", "--since", "tomorrow"),
        ("no-such-command",),
        ("status", "--no-such-option"),
    ],
)
async def test_wrong_arguments_have_exit_status_2_and_print_the_usage(
    shared_stack: RunningStack, arguments: tuple[str, ...]
) -> None:
    result = await opsctl(shared_stack, *arguments)
    assert (result.status, result.out) == (2, "")
    assert "Usage" in result.err


async def test_an_interrupted_command_prints_no_traceback(shared_stack: RunningStack) -> None:
    """Also while it waits for a service that never answers."""
    connected, interrupted, closed = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def never_answer(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connected.set()
        await interrupted.wait()
        writer.close()
        closed.set()

    async with await asyncio.start_server(never_answer, "127.0.0.1", 0) as server:
        host, port = server.sockets[0].getsockname()
        directory = ("--data-dir", str(shared_stack.devstack.directory))
        process = await start(*directory, "--payment", f"{host}:{port}", "status")
        await asyncio.wait_for(connected.wait(), 30)
        process.send_signal(signal.SIGINT)
        result = await finish(process)
        interrupted.set()
        await closed.wait()
    assert result.status != 0
    assert result.out == ""


async def test_json_is_the_only_content_of_standard_output(shared_stack: RunningStack) -> None:
    """A program can parse it whatever the terminal is."""
    for command in (("status",), ("dead-letters", "list")):
        result = await opsctl(shared_stack, *command, "--json")
        assert isinstance(json.loads(result.out), dict)
        assert result.err == ""
