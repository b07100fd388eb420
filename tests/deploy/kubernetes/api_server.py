"""A real kube-apiserver with etcd, without anything that would run what it stores."""

import json
import secrets
import ssl
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import yaml
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from devstack.supervision.ports import Port
from tests.deploy.kubernetes.chart import Manifest
from tests.deploy.kubernetes.tools import built, installed

_START_SECONDS = 60
_POLL_SECONDS = 0.2
_FIELD_MANAGER = "tests"


class Rejected(Exception):
    """The API server refused an object; the text is its own."""


class ApiServer:
    """A client of the server, as its administrator."""

    def __init__(self, address: str, token: str, certificate: Path) -> None:
        self.address, self._token, self._certificate = address, token, certificate
        self._plurals: dict[tuple[str, str], tuple[str, bool]] = {}

    def request(
        self, method: str, path: str, body: Any = None, kind: str = "application/json"
    ) -> Any:
        """One request; returns the JSON of the reply. Raises Rejected."""
        content = None if body is None else json.dumps(body).encode()
        try:
            return json.loads(self._send(method, path, content, kind))
        except urllib.error.HTTPError as error:
            raise Rejected(json.loads(error.read())["message"]) from None

    def _send(
        self, method: str, path: str, content: bytes | None = None, kind: str = "application/json"
    ) -> bytes:
        request = urllib.request.Request(
            f"https://{self.address}{path}",
            method=method,
            data=content,
            headers={"Authorization": f"Bearer {self._token}", "Content-Type": kind},
        )
        context = ssl.create_default_context(cafile=self._certificate)
        with urllib.request.urlopen(request, context=context, timeout=30) as reply:  # noqa: S310
            result: bytes = reply.read()
            return result

    def create(self, manifest: Manifest) -> None:
        """Stores an object."""
        path = self._collection(manifest)
        self.request("POST", f"{path}?fieldManager={_FIELD_MANAGER}", manifest)

    def create_namespace(self, name: str) -> None:
        """Creates a namespace that enforces the Pod Security Standard `restricted`."""
        labels = {"pod-security.kubernetes.io/enforce": "restricted"}
        metadata = {"name": name, "labels": labels}
        self.create({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})

    def check(self, manifest: Manifest) -> Manifest:
        """A strict dry run of server-side apply; returns the object with all defaults.

        Raises Rejected.
        """
        path = f"{self._collection(manifest)}/{manifest['metadata']['name']}"
        options = f"dryRun=All&fieldValidation=Strict&force=true&fieldManager={_FIELD_MANAGER}"
        kind = "application/apply-patch+yaml"
        result: Manifest = self.request("PATCH", f"{path}?{options}", manifest, kind)
        return result

    def kubeconfig(self, path: Path) -> Path:
        """Writes a configuration for other clients."""
        cluster = {"server": f"https://{self.address}"}
        cluster["certificate-authority"] = str(self._certificate)
        context = {"cluster": "tests", "user": "tests"}
        configuration = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "tests", "cluster": cluster}],
            "users": [{"name": "tests", "user": {"token": self._token}}],
            "contexts": [{"name": "tests", "context": context}],
            "current-context": "tests",
        }
        path.write_text(yaml.safe_dump(configuration), "utf-8")
        return path

    def answers(self, path: str) -> bool:
        """Whether the server answers a path, such as `/readyz`, without an error."""
        try:
            return bool(self._send("GET", path))
        except OSError:
            return False

    def wait_for(self, path: str) -> None:
        """Waits until the server answers a path."""
        deadline = time.monotonic() + _START_SECONDS
        while not self.answers(path):
            assert time.monotonic() < deadline, f"{path} is not served"
            time.sleep(_POLL_SECONDS)

    def _collection(self, manifest: Manifest) -> str:
        version, kind = manifest["apiVersion"], manifest["kind"]
        root = f"/apis/{version}" if "/" in version else f"/api/{version}"
        if (version, kind) not in self._plurals:
            for one in self.request("GET", root)["resources"]:
                if "/" not in one["name"]:
                    self._plurals[version, one["kind"]] = one["name"], one["namespaced"]
        plural, is_namespaced = self._plurals[version, kind]
        namespace = manifest["metadata"].get("namespace", "default")
        return f"{root}/namespaces/{namespace}/{plural}" if is_namespaced else f"{root}/{plural}"


@contextmanager
def running_api_server(directory: Path) -> Iterator[ApiServer]:
    """Starts etcd and the API server on free ports of the loopback interface."""
    server, etcd = built("kube-apiserver-{KUBERNETES}"), installed("etcd", "etcd-server")
    with ExitStack() as stack:
        etcd_port, peer_port, port = (_free_port(stack) for _ in range(3))
        etcd_url = f"http://127.0.0.1:{etcd_port}"
        peer_url = f"http://127.0.0.1:{peer_port}"
        etcd_command = [
            etcd,
            "--data-dir=etcd",
            f"--listen-client-urls={etcd_url}",
            f"--advertise-client-urls={etcd_url}",
            f"--listen-peer-urls={peer_url}",
            f"--initial-advertise-peer-urls={peer_url}",
            f"--initial-cluster=default={peer_url}",
            "--unsafe-no-fsync",
        ]
        _start(stack, directory, "etcd.log", etcd_command)
        token = secrets.token_hex(16)
        (directory / "tokens.csv").write_text(f"{token},tests,tests,system:masters\n", "utf-8")
        _write_key(directory / "accounts.pem")
        command = [
            server,
            f"--etcd-servers={etcd_url}",
            "--bind-address=127.0.0.1",
            f"--secure-port={port}",
            "--cert-dir=certificates",
            "--token-auth-file=tokens.csv",
            "--service-cluster-ip-range=10.96.0.0/16",
            "--service-account-issuer=https://kubernetes.default.svc",
            "--service-account-key-file=accounts.pem",
            "--service-account-signing-key-file=accounts.pem",
            # Pods are tried by themselves, without the ServiceAccount that a controller would see.
            "--disable-admission-plugins=ServiceAccount",
        ]
        process = _start(stack, directory, "kube-apiserver.log", command)
        certificate = directory / "certificates" / "apiserver.crt"
        client = ApiServer(f"127.0.0.1:{port}", token, certificate)
        _wait(process, client, directory / "kube-apiserver.log")
        yield client


def _free_port(stack: ExitStack) -> int:
    port = Port.claim(0)
    stack.callback(port.close)
    return port.number


def _start(
    stack: ExitStack, directory: Path, log: str, command: Sequence[str | Path]
) -> subprocess.Popen[bytes]:
    output = stack.enter_context((directory / log).open("wb"))
    process = subprocess.Popen(  # noqa: S603
        command, cwd=directory, stdout=output, stderr=output
    )
    stack.callback(process.wait)
    stack.callback(process.terminate)
    return process


def _write_key(path: Path) -> None:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    text = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    path.write_bytes(text)


def _wait(process: subprocess.Popen[bytes], client: ApiServer, log: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while not client.answers("/readyz"):
        if process.poll() is not None or time.monotonic() > deadline:
            raise AssertionError(f"kube-apiserver did not start: {log.read_text('utf-8')[-2000:]}")
        time.sleep(_POLL_SECONDS)
