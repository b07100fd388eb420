"""`devstack up` runs the stack, `demo` shows a journey, `token` issues a token, `clean` resets."""

import asyncio
import signal
from collections.abc import Coroutine
from pathlib import Path
from typing import Annotated, Any, NoReturn, TypeVar

import typer

from devstack.demo.quickstart import quickstart
from devstack.demo.script import Demo
from devstack.errors import DevstackError
from devstack.keys import Keys
from devstack.settings import Settings
from devstack.stack import Stack
from runtime import redaction
from runtime.auth.authentication import Role
from runtime.auth.keys import KeysUnreadable
from shared_model.access_code import mask_access_codes

T = TypeVar("T")

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)

DataDir = Annotated[Path, typer.Option(help="Directory for all data of the stack.")]

_DEFAULT_DIR = Path(".dev")
_STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_WATCH_SECONDS = 1.0
_DEMO_RESULTS = {True: "all steps passed", False: "a step failed", None: "stopped before the end"}


@app.callback(help="Run the whole platform on one machine.")
def cli() -> None:
    """All commands."""


@app.command(help="Start everything and run until Ctrl-C.")
def up(data_dir: DataDir = _DEFAULT_DIR) -> None:
    """The command `up`."""
    _run(_up(Stack(data_dir, _settings(), report=typer.echo)))


@app.command(
    help="Start everything with empty data, show one customer's journey, and stop.\n\n"
    "Exit status 0 if all steps passed."
)
def demo(data_dir: DataDir = _DEFAULT_DIR / "demo") -> None:
    """The command `demo`."""
    passed = _run(_demo(Stack(data_dir, _settings(), report=typer.echo)))
    typer.echo(_DEMO_RESULTS[passed])
    raise SystemExit(0 if passed else 1)


@app.command(help="Print a token for this stack, valid for a day.")
def token(
    role: Annotated[Role, typer.Argument(help="Role of the bearer.")],
    subject: Annotated[str, typer.Argument(help="Name of the bearer; a customer's customer_id.")],
    data_dir: DataDir = _DEFAULT_DIR,
) -> None:
    """The command `token`."""
    try:
        typer.echo(Keys(data_dir.resolve()).token(subject, role))
    except KeysUnreadable as error:
        raise SystemExit(f"devstack: {error}; 'devstack up' creates the keys") from error


@app.command(help="Terminate the processes that a killed stack left running, and remove all data.")
def clean(data_dir: DataDir = _DEFAULT_DIR) -> None:
    """The command `clean`."""
    _run(Stack(data_dir / "demo").clean())
    _run(Stack(data_dir).clean())


def _settings() -> Settings:
    for line in Settings.unknown_variables():
        typer.echo(f"devstack: {line}", err=True)
    try:
        return Settings.from_environment()
    except DevstackError as error:
        _exit(error)


def _run(work: Coroutine[Any, Any, T]) -> T:
    try:
        return asyncio.run(work)
    except DevstackError as error:
        _exit(error)


def _exit(error: DevstackError) -> NoReturn:
    """Exits with the error's message and status."""
    typer.echo(f"devstack: {error}", err=True)
    raise SystemExit(error.exit_status) from error


async def _up(stack: Stack) -> None:
    stop_requested = _stop_on_signals()
    try:
        await _run_until(stop_requested, stack.start())
        if not stop_requested.is_set():
            typer.echo(f"\n{quickstart(stack)}\n\nReady. Ctrl-C stops everything.")
            await _report_exits(stack, stop_requested)
    finally:
        if stop_requested.is_set():
            typer.echo("\nstopping")
        await stack.stop()


async def _demo(stack: Stack) -> bool | None:
    """Whether all steps passed; None if a signal stopped the demo."""
    await stack.clean()
    stop_requested = _stop_on_signals()
    try:
        await _run_until(stop_requested, stack.start())
        if stop_requested.is_set():
            return None
        return await _run_until(stop_requested, Demo(stack, typer.echo).run())
    finally:
        await stack.stop()


def _stop_on_signals() -> asyncio.Event:
    """Set by the first signal; further signals have no effect, as stopping is bounded in time."""
    stop_requested = asyncio.Event()
    for number in _STOP_SIGNALS:
        asyncio.get_running_loop().add_signal_handler(number, stop_requested.set)
    return stop_requested


async def _run_until(stop_requested: asyncio.Event, work: Coroutine[Any, Any, T]) -> T | None:
    """The result of `work`; None if a stop is requested first, which cancels the work."""
    working = asyncio.create_task(work)
    stopping = asyncio.create_task(stop_requested.wait())
    await asyncio.wait({working, stopping}, return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if working.done():
        return working.result()
    working.cancel()
    await asyncio.wait({working})
    return None


async def _report_exits(stack: Stack, stop_requested: asyncio.Event) -> None:
    """Reports components that exit without a request, until a stop is requested."""
    reported: set[str] = set()
    while not stop_requested.is_set():
        for name, status in stack.exited().items():
            if name not in reported:
                typer.echo(f"{name} exited with status {status}; log: {stack.log(name)}")
                reported.add(name)
        try:
            await asyncio.wait_for(stop_requested.wait(), _WATCH_SECONDS)
        except TimeoutError:
            continue


def main() -> None:
    redaction.add_rule(mask_access_codes)
    app()


if __name__ == "__main__":
    main()
