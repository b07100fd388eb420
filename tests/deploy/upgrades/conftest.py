"""The previous release, once for all tests; without it they are skipped."""

import pytest

from tests.deploy.upgrades.releases import PreviousReleaseMissing, Release, previous_release


@pytest.fixture(scope="session")
def previous(tmp_path_factory: pytest.TempPathFactory) -> Release:
    """The code of the previous release."""
    try:
        return previous_release(tmp_path_factory.mktemp("previous"))
    except PreviousReleaseMissing as error:
        pytest.skip(str(error))
