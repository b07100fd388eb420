"""docs/mission.md lists the acceptance tests, one file per element."""

from pathlib import Path

from tests.acceptance.acceptance_table import mission_rows

ACCEPTANCE_TESTS = Path(__file__).parents[1] / "acceptance"


def test_the_mission_lists_exactly_the_acceptance_test_files() -> None:
    """In the order of their numbers, 1 to 34; the element's number is the file's."""
    rows = mission_rows()
    assert [number for number, _, _ in rows] == list(range(1, 35))
    assert [file for _, _, file in rows] == sorted(
        path.name for path in ACCEPTANCE_TESTS.glob("test_*.py")
    )
    assert all(file.startswith(f"test_{number:02}_") for number, _, file in rows)
