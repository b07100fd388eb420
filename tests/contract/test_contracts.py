"""The contracts: linted, compiled, and kept by those who implement them."""

import filecmp
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from google.protobuf import descriptor_pb2

from contract.v1 import options_pb2

ROOT = Path(__file__).parents[2]
PACKAGES = ("contract", "interview", "notification", "ops", "payment", "sandbox")
BUF_RULES = {"version": "v2", "lint": {"use": ["STANDARD", "COMMENTS"]}}


def run(*command: object) -> subprocess.CompletedProcess[str]:
    scripts = Path(sys.executable).parent
    environment = {**os.environ, "PATH": f"{scripts}{os.pathsep}{os.environ['PATH']}"}
    return subprocess.run(  # noqa: S603
        [str(part) for part in command],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("contracts") / "image.binpb"
    result = run(sys.executable, "protos/compile.py", "--image", path)
    assert result.returncode == 0, result.stderr
    return path


@pytest.fixture(scope="module")
def files(image: Path) -> list[descriptor_pb2.FileDescriptorProto]:
    content = descriptor_pb2.FileDescriptorSet.FromString(image.read_bytes())
    return [file for file in content.file if file.name.split("/")[0] in PACKAGES]


def messages(
    files: list[descriptor_pb2.FileDescriptorProto],
) -> Iterator[tuple[str, descriptor_pb2.DescriptorProto]]:
    for file in files:
        for message in file.message_type:
            yield f"{file.package}.{message.name}", message


def test_every_element_keeps_the_rules_and_has_a_comment(image: Path) -> None:
    paths = [part for package in PACKAGES for part in ("--path", package)]
    result = run("buf", "lint", image, "--config", json.dumps(BUF_RULES), *paths)
    assert result.returncode == 0, result.stdout


def test_the_generated_code_is_what_the_contracts_compile_to(tmp_path: Path) -> None:
    result = run(sys.executable, "protos/compile.py", tmp_path / "gen")
    assert result.returncode == 0, result.stderr
    fresh = {path.relative_to(tmp_path / "gen") for path in (tmp_path / "gen").rglob("*.py*")}
    committed = {
        path.relative_to(ROOT / "gen")
        for path in (ROOT / "gen").rglob("*.py*")
        if "__pycache__" not in path.parts
    }
    assert fresh == committed
    _, differing, unreadable = filecmp.cmpfiles(
        tmp_path / "gen", ROOT / "gen", [str(path) for path in fresh], shallow=False
    )
    assert (differing, unreadable) == ([], [])


def test_imports_point_inwards_and_services_never_meet() -> None:
    result = run("lint-imports", "--no-cache")
    assert result.returncode == 0, result.stdout


def test_every_message_of_an_events_file_is_an_event_with_a_key_it_has(
    files: list[descriptor_pb2.FileDescriptorProto],
) -> None:
    events = [file for file in files if file.name.endswith("/events.proto")]
    assert events
    for name, message in messages(events):
        assert message.options.HasExtension(options_pb2.event), name
        options = message.options.Extensions[options_pb2.event]
        fields = {field.name for field in message.field}
        assert not options.key_field or options.key_field in fields, name
        assert bool(options.aggregate) == bool(options.version_field), name


def test_every_mutation_takes_a_request_id_or_says_why_it_is_idempotent(
    files: list[descriptor_pb2.FileDescriptorProto],
) -> None:
    reads = ("Get", "List", "Check", "Validate", "Preview")
    # Idempotent by what they name: a signed notification.
    by_nature = {"IngestPaymentNotification"}
    keys = {"request_id", "idempotency_key"}  # the latter is the merchant's, at the provider
    fields = {name: {field.name for field in message.field} for name, message in messages(files)}
    for file in files:
        for service in file.service:
            for method in service.method:
                if method.name.startswith(reads) or method.name in by_nature:
                    continue
                assert keys & fields[method.input_type.lstrip(".")], method.name


def test_the_mission_s_events_have_the_mission_s_fields(
    files: list[descriptor_pb2.FileDescriptorProto],
) -> None:
    fields = {name: [field.name for field in message.field] for name, message in messages(files)}
    assert fields["payment.v1.PaymentCompleted"][:3] == ["order_id", "access_code", "expire_at"]
    assert fields["interview.v1.InterviewStarted"][:2] == ["session_id", "access_code"]
