"""Rendering the chart."""

import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from tests.deploy.kubernetes.tools import FOLDER, PROJECT, built

CHART = PROJECT / "deploy" / "helm" / "mock-interview"
# What the chart requires, and every option.
REQUIRED_VALUES = PROJECT / "deploy" / "kubernetes" / "values.yaml"
ALL_OPTIONS = FOLDER / "all-options.yaml"
RELEASE = "mock-interview"
NAMESPACE = "interviews"
SERVICES = ("payment", "interview", "notification")

Manifest = dict[str, Any]


class Refused(Exception):
    """helm refused the values or the chart; the text is its own."""


def helm(*arguments: str | Path) -> str:
    """Runs helm and returns its output; raises Refused."""
    command = [built("helm-{HELM}"), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode:
        raise Refused(done.stdout + done.stderr)
    return done.stdout


def render(values: Path = REQUIRED_VALUES, options: Sequence[str] = ()) -> list[Manifest]:
    """The objects that the chart makes of a file of values and of further options of helm."""
    output = helm(
        "template", RELEASE, CHART, "--namespace", NAMESPACE, "--values", values, *options
    )
    return [document for document in yaml.safe_load_all(output) if document]


def of_kind(manifests: Sequence[Manifest], *kinds: str) -> list[Manifest]:
    """Those of some kinds."""
    return [manifest for manifest in manifests if manifest["kind"] in kinds]


def named(manifests: Sequence[Manifest], kind: str, name: str) -> Manifest:
    """The object of a kind with a name, without the prefix of the release."""
    full_name = f"{RELEASE}-{name}"
    [found] = [one for one in of_kind(manifests, kind) if one["metadata"]["name"] == full_name]
    return found


def pod_template(manifest: Manifest) -> Manifest:
    """The pod template of a Deployment or a Job."""
    template: Manifest = manifest["spec"]["template"]
    return template
