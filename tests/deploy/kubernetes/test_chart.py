"""The chart renders, agrees with the code that it runs, and refuses wrong values."""

import json
import runpy
import tomllib
from pathlib import Path

import pytest
import yaml

from interview_svc.config import InterviewSettings
from notification_svc.config import NotificationSettings
from payment_svc.config import PaymentSettings
from runtime import process
from runtime.settings import ServiceSettings
from tests.deploy.kubernetes.chart import (
    ALL_OPTIONS,
    CHART,
    REQUIRED_VALUES,
    SERVICES,
    Refused,
    helm,
    named,
    of_kind,
    pod_template,
    render,
)
from tests.deploy.kubernetes.tools import PROJECT, built

_SETTINGS: dict[str, type[ServiceSettings]] = {
    "payment": PaymentSettings,
    "interview": InterviewSettings,
    "notification": NotificationSettings,
}
_SCHEMA = json.loads((CHART / "values.schema.json").read_text("utf-8"))
_ALL_VALUES = [REQUIRED_VALUES, ALL_OPTIONS]


@pytest.mark.parametrize("values", _ALL_VALUES, ids=["defaults", "all options"])
def test_helm_finds_nothing_to_criticise(values: Path) -> None:
    assert "[WARNING]" not in helm("lint", "--strict", CHART, "--values", values)


def test_the_version_is_that_of_the_project() -> None:
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text("utf-8"))["project"]
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text("utf-8"))

    assert (chart["version"], chart["appVersion"]) == (project["version"], project["version"])
    images = {
        container["image"].rpartition(":")[2]
        for workload in of_kind(render(), "Deployment", "Job")
        for container in pod_template(workload)["spec"]["containers"]
    }
    assert images == {project["version"]}


@pytest.mark.parametrize(
    ("option", "named_in_the_error"),
    [
        ("interview.replica=3", "replica"),
        ("settings.LOG_LEVL=DEBUG", "LOG_LEVL"),
        ("payment.settings.SMTP_TIMEOUT_SECONDS=5", "SMTP_TIMEOUT_SECONDS"),
        ("payment.settings.LISTEN=0.0.0.0:1", "LISTEN"),
        ("secrets.payment.data.database_url=x", "database_url"),
        ("networkPolicy.nats.ports[0]=0", "ports"),
        ("networkPolicy.nats.peers[0].podselector.matchLabels.a=b", "podselector"),
        ("nats.url=nats://user:password@nats:4222", "url"),
        ("notification.mailFrom=", "mailFrom"),
        ("payment.provider.target=", "sandboxProvider.enabled"),
        ("keda.enabled=true,payment.autoscaling.enabled=true", "prometheusAddress"),
    ],
)
def test_a_wrong_value_is_refused_by_its_name(option: str, named_in_the_error: str) -> None:
    with pytest.raises(Refused, match=named_in_the_error):
        render(options=["--set-string" if "settings" in option else "--set", option])


@pytest.mark.parametrize("values", _ALL_VALUES, ids=["defaults", "all options"])
@pytest.mark.parametrize("service", SERVICES)
def test_every_variable_of_a_service_is_a_setting_of_it(service: str, values: Path) -> None:
    environment = named(render(values), "ConfigMap", service)["data"]

    known = {f"{service}_{name}".upper() for name in _SETTINGS[service].model_fields}
    assert {variable.removesuffix("_FILE") for variable in environment} <= known


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_accepts_its_settings_with_its_secrets_as_files(
    service: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"postgresql://{service}_runtime:secret@postgres/app"
    manifests = render()
    [volume] = [
        volume
        for volume in pod_template(named(manifests, "Deployment", service))["spec"]["volumes"]
        if volume["name"] == "secrets"
    ]
    for item in volume["secret"]["items"]:
        (tmp_path / item["path"]).write_text(url if "url" in item["key"] else "secret", "utf-8")
    for variable, value in named(manifests, "ConfigMap", service)["data"].items():
        monkeypatch.setenv(variable, value.replace("/run/secrets", str(tmp_path)))

    settings = _SETTINGS[service]()

    assert settings.database_url.get_secret_value() == url
    assert settings.nats_password.get_secret_value() == "secret"
    assert settings.auth_signing_key.read_text("utf-8") == "secret"


@pytest.mark.parametrize("grace", ["10", "0", "60.5"])
def test_a_pod_may_take_longer_to_stop_than_its_service_takes(grace: str) -> None:
    manifests = render(options=["--set-string", f"settings.SHUTDOWN_GRACE_SECONDS={grace}"])

    workers = process._WORKER_SECONDS + process._RELAY_SECONDS
    for service in SERVICES:
        pod = pod_template(named(manifests, "Deployment", service))["spec"]
        sleep = pod["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"]
        reserve = pod["terminationGracePeriodSeconds"] - (sleep + float(grace) + workers)
        assert 10 <= reserve < 11


@pytest.mark.parametrize("timeout", ["60", "600"])
def test_a_service_may_wait_for_its_database_at_the_start(timeout: str) -> None:
    manifests = render(options=["--set-string", f"settings.STARTUP_TIMEOUT_SECONDS={timeout}"])

    for service in SERVICES:
        [container] = pod_template(named(manifests, "Deployment", service))["spec"]["containers"]
        probe = container["startupProbe"]
        assert probe["periodSeconds"] * probe["failureThreshold"] > float(timeout)
        assert probe["grpc"] == {"port": 50055, "service": "liveness"}
        assert container["livenessProbe"]["grpc"] == {"port": 50055, "service": "liveness"}
        assert container["readinessProbe"]["grpc"] == {"port": 50055, "service": ""}


def test_probes_of_a_service_with_tls_use_none() -> None:
    options = ["--set", "payment.tlsSecret=tls"]
    manifests = render(options=[*options, "--set", "settings.TLS_ROOTS=/run/trust/ca.crt"])

    [container] = pod_template(named(manifests, "Deployment", "payment"))["spec"]["containers"]
    probes = [container[f"{kind}Probe"] for kind in ("startup", "liveness", "readiness")]
    paths = [probe.pop("httpGet")["path"] for probe in probes]
    assert paths == ["/livez", "/livez", "/readyz"]
    assert not any("grpc" in probe for probe in probes)


def test_interview_has_to_know_by_which_roots_it_trusts_payment() -> None:
    with pytest.raises(Refused, match=r"settings\.TLS_ROOTS"):
        render(options=["--set", "payment.tlsSecret=tls"])


def test_a_change_of_settings_replaces_the_pods_of_that_service_only() -> None:
    before, after = render(), render(options=["--set", "payment.settings.LOG_LEVEL=DEBUG"])

    changed = [
        service
        for service in SERVICES
        if pod_template(named(before, "Deployment", service))
        != pod_template(named(after, "Deployment", service))
    ]
    assert changed == ["payment"]


def test_autoscaling_decides_the_number_of_replicas() -> None:
    manifests = render(options=["--set", "interview.autoscaling.enabled=true"])

    replicas = {
        name: named(manifests, "Deployment", name)["spec"].get("replicas") for name in SERVICES
    }
    assert replicas == {"payment": 2, "interview": None, "notification": 2}
    [scaler] = of_kind(manifests, "HorizontalPodAutoscaler")
    assert scaler["spec"]["scaleTargetRef"]["name"] == "mock-interview-interview"


def test_every_key_of_a_secret_is_documented() -> None:
    kinds = _SCHEMA["properties"]["secrets"]["properties"]
    keys = {key for kind in kinds.values() for key in kind["properties"]["data"]["properties"]}
    readme = (CHART / "README.md").read_text("utf-8")

    assert [key for key in sorted(keys) if f"`{key}`" not in readme] == []


def test_the_plain_manifests_are_what_the_chart_makes() -> None:
    render_script = runpy.run_path(str(PROJECT / "deploy" / "kubernetes" / "render.py"))

    files = render_script["rendered"](str(built("helm-{HELM}")))

    assert len(files) == 7
    assert render_script["outdated"](files) == []
