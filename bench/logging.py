"""A log line: the line of a call, against its bare encoding and write, and standard logging."""

from pathlib import Path
from tempfile import TemporaryDirectory

from bench.processes import run_subject
from bench.rounds import Comparison, Measure, Options, Series, alternate

_LINES = 50_000
_OURS, _BARE = "our log line", "orjson and os.write, nothing masked"
_STANDARD = "logging and json, nothing masked"
_GOAL_MICROSECONDS = 10.0


async def run(options: Options) -> list[Comparison]:
    """Each round logs as many lines to a file, in a process of its own."""
    count = options.count(_LINES)
    with TemporaryDirectory() as directory:
        subjects = {
            name: _subject(way, count, Path(directory) / f"{way}.log")
            for name, way in ((_OURS, "ours"), (_BARE, "bare"), (_STANDARD, "standard"))
        }
        ours, *references = await alternate(subjects, options.rounds)
    goal = Series("the goal", [_GOAL_MICROSECONDS])
    title = f"The log line of a call, {count:,} lines"
    note = "CPU time of the process, also of the thread that writes."
    return [
        Comparison(title, "µs of CPU per line", ours, [goal, *references], {goal.name: 1.0},
                   higher_is_better=False, notes=[note])
    ]  # fmt: skip


def _subject(way: str, count: int, log: Path) -> Measure:
    async def measure() -> float:
        result = await run_subject("log_lines", {}, way, str(count), log=log)
        return float(result["cpu_seconds"]) / count * 1e6

    return measure
