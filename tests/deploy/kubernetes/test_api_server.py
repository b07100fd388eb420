"""A real API server accepts what the chart makes, and refuses mistakes in it."""

import copy
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.deploy.kubernetes.api_server import ApiServer, Rejected
from tests.deploy.kubernetes.chart import (
    ALL_OPTIONS,
    NAMESPACE,
    REQUIRED_VALUES,
    SERVICES,
    Manifest,
    named,
    of_kind,
    pod_template,
    render,
)

# The start, with a cold cache of the disk.
pytestmark = pytest.mark.timeout(900)


@pytest.fixture(scope="module")
def all_options() -> list[Manifest]:
    """The objects with all options on."""
    return render(ALL_OPTIONS)


@pytest.mark.parametrize("values", [REQUIRED_VALUES, ALL_OPTIONS], ids=["defaults", "all options"])
def test_the_api_server_accepts_every_object(api_server: ApiServer, values: Path) -> None:
    for manifest in render(values):
        api_server.check(_in_namespace(manifest))


@pytest.mark.parametrize("values", [REQUIRED_VALUES, ALL_OPTIONS], ids=["defaults", "all options"])
def test_every_pod_is_admitted_to_a_restricted_namespace(
    api_server: ApiServer, values: Path
) -> None:
    workloads = of_kind(render(values), "Deployment", "Job")

    for workload in workloads:
        api_server.check(_pod_of(workload))

    assert len(workloads) >= len(SERVICES) + 5


def _misspell_the_probe(manifests: Sequence[Manifest]) -> Manifest:
    deployment = named(manifests, "Deployment", "notification")
    [container] = pod_template(deployment)["spec"]["containers"]
    container["livenessProbe"]["grcp"] = container["livenessProbe"].pop("grpc")
    return deployment


def _select_other_labels(manifests: Sequence[Manifest]) -> Manifest:
    deployment = named(manifests, "Deployment", "interview")
    deployment["spec"]["selector"]["matchLabels"]["app.kubernetes.io/component"] = "interviews"
    return deployment


def _scale_by_nothing(manifests: Sequence[Manifest]) -> Manifest:
    scaled = named(manifests, "ScaledObject", "notification")
    scaled["spec"]["triggers"][1]["metadata"]["threshold"] = {"value": 500}
    return scaled


def _restart_a_job_always(manifests: Sequence[Manifest]) -> Manifest:
    job = named(manifests, "Job", "migrate-payment")
    pod_template(job)["spec"]["restartPolicy"] = "Always"
    return job


def _give_a_budget_twice(manifests: Sequence[Manifest]) -> Manifest:
    budget = named(manifests, "PodDisruptionBudget", "payment")
    budget["spec"]["minAvailable"] = 1
    return budget


def _allow_nothing_and_everything(manifests: Sequence[Manifest]) -> Manifest:
    deployment = named(manifests, "Deployment", "payment")
    deployment["spec"]["strategy"]["rollingUpdate"] = {"maxUnavailable": 0, "maxSurge": 0}
    return deployment


def _mount_what_is_no_volume(manifests: Sequence[Manifest]) -> Manifest:
    deployment = named(manifests, "Deployment", "notification")
    [container] = pod_template(deployment)["spec"]["containers"]
    container["volumeMounts"][1]["name"] = "secret"
    return deployment


def _let_in_a_port_without_number(manifests: Sequence[Manifest]) -> Manifest:
    policy = named(manifests, "NetworkPolicy", "payment")
    policy["spec"]["ingress"][0]["ports"][0]["port"] = "gRPC port"
    return policy


def _scrape_a_port_by_two_names(manifests: Sequence[Manifest]) -> Manifest:
    monitor = of_kind(manifests, "ServiceMonitor")[0]
    monitor["spec"]["endpoints"][0]["intervall"] = "15s"
    return monitor


_MISTAKES: dict[str, tuple[Callable[[Sequence[Manifest]], Manifest], str]] = {
    "a misspelt probe": (_misspell_the_probe, "grcp"),
    "a selector of other labels": (_select_other_labels, "`selector` does not match"),
    "a trigger of a wrong form": (_scale_by_nothing, "threshold"),
    "a Job that always restarts": (_restart_a_job_always, "restartPolicy"),
    "a budget with two limits": (_give_a_budget_twice, "cannot be both set"),
    "a roll-out that cannot proceed": (_allow_nothing_and_everything, "maxUnavailable"),
    "a mount of no volume": (_mount_what_is_no_volume, "volumeMounts"),
    "a port that is none": (_let_in_a_port_without_number, "port"),
    "a misspelt interval": (_scrape_a_port_by_two_names, "intervall"),
}


@pytest.mark.parametrize("mistake", _MISTAKES)
def test_the_api_server_refuses(
    api_server: ApiServer, all_options: list[Manifest], mistake: str
) -> None:
    plant, reason = _MISTAKES[mistake]

    with pytest.raises(Rejected, match=reason):
        api_server.check(_in_namespace(plant(copy.deepcopy(all_options))))


_PRIVILEGES: dict[str, dict[str, Any]] = {
    "a writable root file system as root": {"runAsUser": 0, "runAsNonRoot": False},
    "capabilities": {"capabilities": {"add": ["NET_ADMIN"]}},
    "more privileges than its parent": {"allowPrivilegeEscalation": True},
}


@pytest.mark.parametrize("privileges", _PRIVILEGES)
def test_a_restricted_namespace_refuses_a_pod_with(
    api_server: ApiServer, all_options: list[Manifest], privileges: str
) -> None:
    pod = _pod_of(named(copy.deepcopy(all_options), "Deployment", "payment"))
    [container] = pod["spec"]["containers"]
    container["securityContext"] |= _PRIVILEGES[privileges]

    with pytest.raises(Rejected, match="violates PodSecurity"):
        api_server.check(pod)


def _in_namespace(manifest: Manifest) -> Manifest:
    return manifest | {"metadata": manifest["metadata"] | {"namespace": NAMESPACE}}


def _pod_of(workload: Manifest) -> Manifest:
    """The pod that a controller would make of a Deployment or a Job."""
    metadata = pod_template(workload)["metadata"] | {"name": workload["metadata"]["name"]}
    spec = pod_template(workload)["spec"]
    return _in_namespace({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})
