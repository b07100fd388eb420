"""Prints the mission's 34 elements with their state: `-p tests.acceptance.acceptance_table`.

An element passes if a test of its file `test_NN_….py` passed and none failed. An element without a
test, or whose tests were all skipped, does not.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Mapping
from pathlib import Path

import pytest

MISSION = Path(__file__).parents[2] / "docs" / "mission.md"
_ROW = re.compile(r"^\| (\d+) \| (.+?) \| .+ \| \[(test_\w+\.py)\]", re.MULTILINE)
_TEST_FILE = re.compile(r"acceptance/test_(\d\d)_\w+\.py")


def mission_rows() -> list[tuple[int, str, str]]:
    """Number, element and test file of each row in docs/mission.md."""
    rows = _ROW.findall(MISSION.read_text("utf-8"))
    return [(int(number), element, file) for number, element, file in rows]


class AcceptanceTable:
    """Counts the outcomes of each element's tests; with xdist, in the process that reports."""

    def __init__(self, elements: Mapping[int, str]) -> None:
        self._elements = elements
        self._outcomes: defaultdict[int, Counter[str]] = defaultdict(Counter)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Counts calls, and set-ups and tear-downs that did not pass."""
        file = _TEST_FILE.search(report.nodeid)
        if file and (report.when == "call" or report.outcome != "passed"):
            self._outcomes[int(file[1])][report.outcome] += 1

    def passes(self, number: int) -> bool:
        outcomes = self._outcomes[number]
        return bool(outcomes["passed"]) and not outcomes["failed"]

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        terminalreporter.section("acceptance")
        for number, element in self._elements.items():
            outcomes = self._outcomes[number]
            counts = ", ".join(f"{count} {name}" for name, count in outcomes.items()) or "no test"
            passes = self.passes(number)
            line = f"{'✓' if passes else '✗'} {number:2}  {element:48} {counts}"
            terminalreporter.line(line, green=passes, red=not passes)
        passed = sum(self.passes(number) for number in self._elements)
        terminalreporter.line(f"{passed} of {len(self._elements)} elements pass")


def pytest_configure(config: pytest.Config) -> None:
    # Without the mission's Chinese term, which follows in parentheses.
    elements = {number: element.partition(" (")[0] for number, element, _ in mission_rows()}
    config.pluginmanager.register(AcceptanceTable(elements), "acceptance-table")
