"""The images of the product and of the servers, in a store that has no images of a user."""

from collections.abc import Iterator

import pytest

from tests.deploy.containers.images import Images
from tests.deploy.containers.podman import Podman


@pytest.fixture(scope="session")
def podman(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Podman]:
    """Podman with an empty store; all containers and images are removed at the end."""
    podman = Podman(tmp_path_factory.mktemp("podman"))
    yield podman
    podman.remove_everything()


@pytest.fixture(scope="session")
def images(podman: Podman) -> Images:
    """The product's image, built by `make image`, and stand-ins for public images."""
    return Images.build(podman)
