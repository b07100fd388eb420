"""A rule of the protocol, with how to take it away and what may happen then.

Taking a rule away patches the product for the time of a test. Nothing in the product knows of it.
"""

from collections.abc import Callable
from dataclasses import dataclass

import pytest

from tests.unit.model.world import Scenario

Patch = pytest.MonkeyPatch


@dataclass(frozen=True)
class Rule:
    """A rule, how to take it away, and things that may happen and then end badly.

    Without a way to take it away, the scenario is what lacks it: it goes wrong as it is.
    """

    name: str
    take_away: Callable[[Patch], None] | None
    scenario: Scenario
    patient: bool = False
