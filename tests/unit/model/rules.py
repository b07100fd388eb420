"""A rule of the protocol, how to disable it, and a scenario that fails without it.

A rule is disabled by patching the product during a test; the product has no code for that.
"""

from collections.abc import Callable
from dataclasses import dataclass

import pytest

from tests.unit.model.world import Scenario

Patch = pytest.MonkeyPatch


@dataclass(frozen=True)
class Rule:
    """A rule, how to disable it, and a scenario that fails without it.

    If `disable` is None, the scenario itself lacks the rule and fails without a patch.
    """

    name: str
    disable: Callable[[Patch], None] | None
    scenario: Scenario
    allow_waiting: bool = False
