"""The commands of deploy/kubernetes/README.md install the plain manifests, and upgrade them."""

import os
import re
import subprocess
from pathlib import Path

import pytest

from tests.deploy.kubernetes.api_server import ApiServer
from tests.deploy.kubernetes.job_controller import JobController
from tests.deploy.kubernetes.tools import PROJECT, installed

pytestmark = pytest.mark.timeout(900)
_README = PROJECT / "deploy" / "kubernetes" / "README.md"
_NAMESPACE = "mock-interview"
_JOBS = ["roles", "migrate-payment", "migrate-interview", "migrate-notification", "topology"]


def test_the_commands_of_the_document_install_and_upgrade(
    api_server: ApiServer, tmp_path: Path
) -> None:
    installed("kubectl", "kubernetes-client")
    [commands] = re.findall(r"```sh\n(.*?)```", _README.read_text("utf-8"), re.DOTALL)
    # A namespace is created once.
    upgrade = re.sub(r"kubectl create namespace .*\n", "", commands)
    environment = {**os.environ, "KUBECONFIG": str(api_server.kubeconfig(tmp_path / "config"))}

    with JobController(api_server, _NAMESPACE, lambda job: job) as jobs:
        for script in (commands, upgrade):
            subprocess.run(  # noqa: S603  our own document
                ["/bin/bash", "-euo", "pipefail", "-c", script],
                cwd=PROJECT,
                env=environment,
                check=True,
            )

    assert jobs.seen == [f"mock-interview-{job}" for job in _JOBS * 2]
    deployments = f"/apis/apps/v1/namespaces/{_NAMESPACE}/deployments"
    assert len(api_server.request("GET", deployments)["items"]) == 3
