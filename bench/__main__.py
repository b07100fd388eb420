"""`python -m bench [--part NAME]… [--rounds N] [--seconds S] [--quick] [--output FILE]`."""

import asyncio
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated

import typer

from bench import consumer, growth, journeys, logging, overload, relay, scaling, validation
from bench.load import LoadGeneratorMissing
from bench.report import render
from bench.rounds import Comparison, Options

Part = Callable[[Options], Awaitable[Sequence[Comparison]]]
PARTS: Mapping[str, Part] = {
    "validation": validation.run,
    "scaling": scaling.run,
    "overload": overload.run,
    "relay": relay.run,
    "consumer": consumer.run,
    "latency": journeys.run_latency,
    "orders": journeys.run_orders,
    "logging": logging.run,
    "growth": growth.run,
}
app = typer.Typer(add_completion=False)
_QUICK = Options(rounds=1, seconds=1.0, scale=0.05)


def main(
    part: Annotated[list[str] | None, typer.Option(help=f"one of {', '.join(PARTS)}")] = None,
    rounds: Annotated[int, typer.Option(min=1)] = 5,
    seconds: Annotated[float, typer.Option(min=0.1)] = 5.0,
    quick: Annotated[bool, typer.Option(help="one short round: whether it works at all")] = False,
    output: Annotated[Path | None, typer.Option(help="file for the report")] = None,
) -> None:
    """Measures the parts, prints the report, and writes it to a file if one is given."""
    names = part or list(PARTS)
    if unknown := [name for name in names if name not in PARTS]:
        raise typer.BadParameter(f"unknown part {', '.join(unknown)}; parts: {', '.join(PARTS)}")
    options = _QUICK if quick else Options(rounds, seconds)
    try:
        report = render(asyncio.run(_run(names, options)), options)
    except LoadGeneratorMissing as error:
        typer.echo(f"bench: {error}", err=True)
        raise typer.Exit(2) from None
    typer.echo(report)
    if output:
        output.write_text(report, "utf-8")


async def _run(names: Sequence[str], options: Options) -> dict[str, Sequence[Comparison]]:
    results: dict[str, Sequence[Comparison]] = {}
    for name in names:
        sys.stderr.write(f"bench: {name}\n")
        results[name] = await PARTS[name](options)
    return results


if __name__ == "__main__":
    app.command(help="Measure the parts, print the report, and write it to a file if given.")(main)
    app()
