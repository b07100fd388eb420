"""A real API server for the tests of the chart."""

from collections.abc import Iterator

import pytest
import yaml

from tests.deploy.kubernetes.api_server import ApiServer, running_api_server
from tests.deploy.kubernetes.chart import NAMESPACE
from tests.deploy.kubernetes.tools import built

_DEFINITIONS = {
    "keda.sh_scaledobjects-{KEDA}.yaml": "/apis/keda.sh/v1alpha1",
    "monitoring.coreos.com_servicemonitors-{PROMETHEUS_OPERATOR}.yaml": (
        "/apis/monitoring.coreos.com/v1"
    ),
}


@pytest.fixture(scope="session")
def api_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    """An API server with the namespace of the release and the resources of KEDA and Prometheus."""
    with running_api_server(tmp_path_factory.mktemp("kubernetes")) as server:
        for file, path in _DEFINITIONS.items():
            server.create(yaml.safe_load(built(file).read_text("utf-8")))
            server.wait_for(path)
        server.create_namespace(NAMESPACE)
        yield server
