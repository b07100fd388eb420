"""Runs what the chart makes by podman, which has pods but no cluster.

Changed is only what podman 4.3 cannot do: Services and their names are addresses in /etc/hosts, a
Secret is mounted as a ConfigMap, one replica runs, nothing is probed. A Job is a plain container.
"""

import copy
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import yaml

from tests.deploy.containers.podman import Podman
from tests.deploy.kubernetes.chart import RELEASE, Manifest, named, of_kind, pod_template


@dataclass(frozen=True)
class Network:
    """A bridge of the test's own, with the names that containers know."""

    name: str
    prefix: str
    hosts: Mapping[str, str]

    def address(self, number: int) -> str:
        return f"{self.prefix}.{number}"


def run_job(
    podman: Podman, job: Manifest, secrets: Mapping[str, str], network: Network, folder: Path
) -> str:
    """Runs a Job to its end with the privileges that it states, and returns its output.

    `secrets` has the content of every key. Fails unless the Job ends with status 0.
    """
    [container] = pod_template(job)["spec"]["containers"]
    mounted = folder / job["metadata"]["name"]
    mounted.mkdir()
    for key in _projected_keys(job):
        (mounted / key).write_text(secrets[key], "utf-8")
    return podman.run(
        *("run", "--rm", "--pull", "never", "--network", network.name),
        *(f"--add-host={name}:{address}" for name, address in network.hosts.items()),
        *_restrictions(job),
        *("--volume", f"{mounted}:/run/secrets:ro"),
        *(f"--env={one['name']}={one['value']}" for one in container["env"]),
        container["image"],
        *container["command"],
    )


def _projected_keys(job: Manifest) -> list[str]:
    [volume] = [one for one in pod_template(job)["spec"]["volumes"] if "projected" in one]
    return [
        item["key"]
        for source in volume["projected"]["sources"]
        for item in source["secret"]["items"]
    ]


def _restrictions(job: Manifest) -> list[str]:
    pod = pod_template(job)["spec"]
    [container] = pod["containers"]
    security, context = pod["securityContext"], container["securityContext"]
    options = [f"--user={security['runAsUser']}:{security['runAsGroup']}", "--tmpfs=/tmp"]
    options += [f"--cap-drop={name}" for name in context["capabilities"]["drop"]]
    options += ["--read-only"] if context["readOnlyRootFilesystem"] else []
    if not context["allowPrivilegeEscalation"]:
        options.append("--security-opt=no-new-privileges")
    return options


@contextmanager
def playing(
    podman: Podman,
    manifests: Sequence[Manifest],
    components: Mapping[str, str],
    network: Network,
    folder: Path,
) -> Iterator[None]:
    """Runs the pods of Deployments; `components` has the address of each."""
    with ExitStack() as played:
        volumes = [one["metadata"]["name"] for one in _config_maps(manifests)]
        played.callback(podman.run, "volume", "rm", "--force", *volumes)
        for component, address in components.items():
            objects = [*_config_maps(manifests), _one_pod(manifests, component, network)]
            file = folder / f"{component}.yaml"
            file.write_text(yaml.safe_dump_all(objects), "utf-8")
            played.callback(podman.run, "kube", "down", str(file))
            podman.run("kube", "play", "--network", network.name, "--ip", address, str(file))
        yield


def log_of(podman: Podman, component: str) -> str:
    """What the pod of a Deployment has logged."""
    name = f"{RELEASE}-{component}-pod-0-{component}"
    path = podman.run("inspect", "--format", "{{.HostConfig.LogConfig.Path}}", name)
    return Path(path.strip()).read_text("utf-8")


def _config_maps(manifests: Sequence[Manifest]) -> list[Manifest]:
    """ConfigMaps, and Secrets as such."""
    secrets = [
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": _secret_name(secret["metadata"]["name"])},
            "data": secret["stringData"],
        }
        for secret in of_kind(manifests, "Secret")
    ]
    return [*of_kind(manifests, "ConfigMap"), *secrets]


def _secret_name(name: str) -> str:
    return f"{name}-secret"  # a ConfigMap may have the same name


def _one_pod(manifests: Sequence[Manifest], component: str, network: Network) -> Manifest:
    deployment = copy.deepcopy(named(manifests, "Deployment", component))
    deployment["spec"]["replicas"] = 1
    pod = pod_template(deployment)["spec"]
    pod["hostAliases"] = [
        {"ip": address, "hostnames": [name]} for name, address in network.hosts.items()
    ]
    for container in pod["containers"]:
        # Podman would publish every port on this machine, under the same number.
        for name in ("startupProbe", "livenessProbe", "readinessProbe", "lifecycle", "ports"):
            container.pop(name, None)
    for volume in pod["volumes"]:
        if secret := volume.pop("secret", None):
            name = _secret_name(secret["secretName"])
            volume["configMap"] = {"name": name}
            if "items" in secret:
                volume["configMap"]["items"] = secret["items"]
    return deployment
