"""Prints the mission's elements and whether their tests passed: `-p tests.acceptance.proof_table`.

A row is proven if a test of its file `test_NN_….py` passed and none failed. One without a
test, or whose tests were all skipped, is not.
"""

import re
from collections import Counter, defaultdict

import pytest

ELEMENTS = {
    1: "PaymentCompleted{orderId, accessCode, expireAt}",
    2: "handler interview.createSession",
    3: "handler notification.sendEmail",
    4: "InterviewStarted{sessionId, accessCode}",
    5: "handler payment.updateAccessCodeStatus",
    6: "shared model AccessCode",
    7: "payment creates and updates codes",
    8: "interview reads and validates codes",
    9: "payment owns Order, Payment, AccessCode",
    10: "interview owns Session, QARecord, Feedback",
    11: "payment → interview by event",
    12: "interview → payment by query",
    13: "interview asks for validation",
    14: "payment answers",
    15: "fallback: local cache",
    16: "payment publishes asynchronously",
    17: "interview subscribes",
    18: "retry",
    19: "publish after completion",
    20: "subscribe → prepareSession(data)",
    21: "shared table access_codes",
    22: "columns id, code, status, expire_at",
    23: "indexes code_idx, status_idx",
    24: "payment READ WRITE",
    25: "interview READ ONLY",
    26: "events instead of direct calls",
    27: "exchange through the shared model",
    28: "clear boundaries",
    29: "event retry",
    30: "data consistency check",
    31: "compensating transactions",
    32: "local cache",
    33: "batch processing of events",
    34: "non-critical work is asynchronous",
}
_PROOF = re.compile(r"acceptance/test_(\d\d)_\w+\.py")


class ProofTable:
    """Counts what became of each row's tests; with xdist, in the process that reports."""

    def __init__(self) -> None:
        self._outcomes: defaultdict[int, Counter[str]] = defaultdict(Counter)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """A test passes by its call; set-up and tear-down can only spoil it."""
        found = _PROOF.search(report.nodeid)
        if found and (report.when == "call" or report.outcome != "passed"):
            self._outcomes[int(found[1])][report.outcome] += 1

    def is_proven(self, row: int) -> bool:
        outcomes = self._outcomes[row]
        return bool(outcomes["passed"]) and not outcomes["failed"]

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        terminalreporter.section("proofs")
        for row, element in ELEMENTS.items():
            outcomes = self._outcomes[row]
            told = ", ".join(f"{count} {name}" for name, count in outcomes.items()) or "no test"
            well = self.is_proven(row)
            line = f"{'✓' if well else '✗'} {row:2}  {element:48} {told}"
            terminalreporter.line(line, green=well, red=not well)
        proven = sum(self.is_proven(row) for row in ELEMENTS)
        terminalreporter.line(f"{proven} of {len(ELEMENTS)} proven")


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(ProofTable(), "proof-table")
