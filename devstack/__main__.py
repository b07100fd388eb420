"""`devstack up` runs the stack until Ctrl-C, `demo` shows the journey, `clean` removes all."""

import asyncio
import signal
from pathlib import Path
from typing import Annotated

import typer

from devstack.demo.quickstart import hints
from devstack.demo.script import Demo
from devstack.errors import DevstackError
from devstack.keys import Keys
from devstack.settings import Settings
from devstack.stack import Stack
from runtime.auth.authentication import KeysUnreadable, Role

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)

DataDir = Annotated[Path, typer.Option(help="Where the stack keeps everything.")]

_DEFAULT_DIR = Path(".dev")
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_WATCH_INTERVAL = 1.0


@app.callback()
def cli() -> None:
    """The whole platform on one machine."""


@app.command()
def up(data_dir: DataDir = _DEFAULT_DIR) -> None:
    """Start everything and run until Ctrl-C."""
    try:
        asyncio.run(_up(Stack(data_dir, Settings.from_environment(), report=typer.echo)))
    except DevstackError as error:
        raise SystemExit(f"devstack: {error}") from error


@app.command()
def demo(data_dir: DataDir = _DEFAULT_DIR / "demo") -> None:
    """Start everything afresh, run the whole journey, show it, and stop."""
    try:
        held = asyncio.run(_demo(Stack(data_dir, Settings.from_environment(), report=typer.echo)))
    except DevstackError as error:
        raise SystemExit(f"devstack: {error}") from error
    told = {True: "every step held", False: "a step did not hold", None: "stopped before the end"}
    typer.echo(told[held])
    raise SystemExit(0 if held else 1)


@app.command()
def token(
    role: Annotated[Role, typer.Argument(help="What the bearer is.")],
    subject: Annotated[str, typer.Argument(help="Who the bearer is; a customer's customer_id.")],
    data_dir: DataDir = _DEFAULT_DIR,
) -> None:
    """Print a token of this installation, valid for a day."""
    try:
        typer.echo(Keys(data_dir.resolve()).token(subject, role))
    except KeysUnreadable as error:
        raise SystemExit(f"devstack: {error}; 'devstack up' makes the keys") from error


@app.command()
def clean(data_dir: DataDir = _DEFAULT_DIR) -> None:
    """End what a killed stack left behind and remove all data."""
    try:
        asyncio.run(Stack(data_dir / "demo").clean())
        asyncio.run(Stack(data_dir).clean())
    except DevstackError as error:
        raise SystemExit(f"devstack: {error}") from error


async def _demo(stack: Stack) -> bool | None:
    """Whether every step held; None if somebody stopped it."""
    await stack.clean()
    stopping = _stop_request()
    try:
        if not await _start(stack, stopping):
            return None
        running = asyncio.create_task(Demo(stack, typer.echo).run())
        asked = asyncio.create_task(stopping.wait())
        await asyncio.wait({running, asked}, return_when=asyncio.FIRST_COMPLETED)
        asked.cancel()
        if running.done():
            return running.result()
        running.cancel()
        return None
    finally:
        await stack.stop()


async def _up(stack: Stack) -> None:
    stopping = _stop_request()
    try:
        if await _start(stack, stopping):
            typer.echo(f"\n{hints(stack)}\n\nReady. Ctrl-C stops everything.")
            await _watch(stack, stopping)
    finally:
        if stopping.is_set():
            typer.echo("\nstopping")
        await stack.stop()


def _stop_request() -> asyncio.Event:
    """Set by the first signal; later ones change nothing, since stopping is bounded in time."""
    stopping = asyncio.Event()
    for number in _SIGNALS:
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    return stopping


async def _start(stack: Stack, stopping: asyncio.Event) -> bool:
    """Starts the stack; False if that was called off in the middle."""
    starting = asyncio.create_task(stack.start())
    asked = asyncio.create_task(stopping.wait())
    await asyncio.wait({starting, asked}, return_when=asyncio.FIRST_COMPLETED)
    asked.cancel()
    if starting.done():
        starting.result()
        return True
    starting.cancel()
    await asyncio.wait({starting})
    return False


async def _watch(stack: Stack, stopping: asyncio.Event) -> None:
    """Waits for the stop request; tells of components that end by themselves meanwhile."""
    told: set[str] = set()
    while not stopping.is_set():
        for name, status in stack.ended().items():
            if name not in told:
                typer.echo(f"{name} ended with status {status}; its log: {stack.log(name)}")
                told.add(name)
        try:
            await asyncio.wait_for(stopping.wait(), _WATCH_INTERVAL)
        except TimeoutError:
            continue


def main() -> None:
    app()


if __name__ == "__main__":
    main()
