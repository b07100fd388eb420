"""helm installs and upgrades a release on a real API server, with its Jobs in the right order."""

from pathlib import Path
from typing import Any

import pytest

from tests.deploy.kubernetes.api_server import ApiServer, Rejected
from tests.deploy.kubernetes.chart import ALL_OPTIONS, CHART, RELEASE, helm
from tests.deploy.kubernetes.job_controller import JobController

pytestmark = pytest.mark.timeout(900)
NAMESPACE = "installed"  # nothing else is stored there
_DEPLOYMENT = f"/apis/apps/v1/namespaces/{NAMESPACE}/deployments/{RELEASE}-interview"
_BEFORE = ["roles", "migrate-payment", "migrate-interview", "migrate-notification"]


def _installed_image(server: ApiServer) -> str | None:
    """The tag of the image of interview's Deployment; None if there is none."""
    try:
        deployment = server.request("GET", _DEPLOYMENT)
    except Rejected:
        return None
    image: str = deployment["spec"]["template"]["spec"]["containers"][0]["image"]
    return image.rpartition(":")[2]


def _release(server: ApiServer, directory: Path, command: str, tag: str) -> list[tuple[str, Any]]:
    """Runs `helm install` or `upgrade`.

    Returns the name of each Job, and the tag that interview's Deployment had when it was created.
    """

    def look(job: str) -> tuple[str, str | None]:
        return job.removeprefix(f"{RELEASE}-"), _installed_image(server)

    with JobController(server, NAMESPACE, look) as jobs:
        helm(
            *(command, RELEASE, CHART, "--namespace", NAMESPACE, "--values", ALL_OPTIONS),
            *("--set", f"image.tag={tag}", "--timeout", "60s"),
            *("--kubeconfig", server.kubeconfig(directory / "kubeconfig")),
        )
    return jobs.seen


def test_the_jobs_run_in_order_and_around_the_services(
    api_server: ApiServer, tmp_path: Path
) -> None:
    api_server.create_namespace(NAMESPACE)
    installed = _release(api_server, tmp_path, "install", "1.0.0")
    upgraded = _release(api_server, tmp_path, "upgrade", "2.0.0")

    assert installed == [(job, None) for job in [*_BEFORE, "topology"]]
    assert upgraded == [*((job, "1.0.0") for job in _BEFORE), ("topology", "2.0.0")]
    # The administrators' passwords are in the cluster while the Jobs run only.
    secrets = api_server.request("GET", f"/api/v1/namespaces/{NAMESPACE}/secrets")["items"]
    keys = {key for secret in secrets for key in secret.get("data", {})}
    assert "payment_database_url" in keys
    assert not keys & {"admin_database_url", "payment_owner_database_url", "nats_credentials"}
