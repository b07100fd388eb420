"""The contracts: rules for events and methods, and the generated code.

`make check` lints them, compares them with the published ones and checks the imports; that it does
is tested in acceptance/test_27_… and test_28_….
"""

import filecmp
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from google.protobuf import descriptor_pb2

from contract.v1 import options_pb2

ROOT = Path(__file__).parents[2]
PACKAGES = ("contract", "interview", "notification", "ops", "payment", "sandbox")


def compile_contracts(*arguments: object) -> None:
    command = [sys.executable, "protos/compile.py", *(str(argument) for argument in arguments)]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)  # noqa: S603
    assert result.returncode == 0, result.stderr


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[descriptor_pb2.FileDescriptorProto]:
    """The contracts' files, without those of their dependencies."""
    image = tmp_path_factory.mktemp("contracts") / "image.binpb"
    compile_contracts("--image", image)
    content = descriptor_pb2.FileDescriptorSet.FromString(image.read_bytes())
    return [file for file in content.file if file.name.split("/")[0] in PACKAGES]


def messages(
    files: list[descriptor_pb2.FileDescriptorProto],
) -> Iterator[tuple[str, descriptor_pb2.DescriptorProto]]:
    """The top-level messages by their full names."""
    for file in files:
        for message in file.message_type:
            yield f"{file.package}.{message.name}", message


def test_the_generated_code_is_up_to_date(tmp_path: Path) -> None:
    compile_contracts(tmp_path / "gen")
    compiled = {path.relative_to(tmp_path / "gen") for path in (tmp_path / "gen").rglob("*.py*")}
    committed = {
        path.relative_to(ROOT / "gen")
        for path in (ROOT / "gen").rglob("*.py*")
        if "__pycache__" not in path.parts
    }
    assert compiled == committed
    _, differing, unreadable = filecmp.cmpfiles(
        tmp_path / "gen", ROOT / "gen", [str(path) for path in compiled], shallow=False
    )
    assert (differing, unreadable) == ([], [])


def test_every_message_of_an_events_file_is_an_event_whose_key_is_one_of_its_fields(
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


def test_every_mutation_has_a_request_id_or_is_idempotent_by_its_content(
    files: list[descriptor_pb2.FileDescriptorProto],
) -> None:
    query_prefixes = ("Get", "List", "Check", "Validate", "Preview")
    # A signed notification has an id of its own.
    idempotent = {"IngestPaymentNotification"}
    id_fields = {"request_id", "idempotency_key"}  # the latter in the provider's contract
    fields = {name: {field.name for field in message.field} for name, message in messages(files)}
    for file in files:
        for service in file.service:
            for method in service.method:
                if method.name.startswith(query_prefixes) or method.name in idempotent:
                    continue
                assert id_fields & fields[method.input_type.lstrip(".")], method.name


def test_the_events_of_the_mission_have_its_fields(
    files: list[descriptor_pb2.FileDescriptorProto],
) -> None:
    fields = {name: [field.name for field in message.field] for name, message in messages(files)}
    assert fields["payment.v1.PaymentCompleted"][:3] == ["order_id", "access_code", "expire_at"]
    assert fields["interview.v1.InterviewStarted"][:2] == ["session_id", "access_code"]


def test_every_field_for_a_code_or_an_address_is_marked_as_secret(
    files: list[descriptor_pb2.FileDescriptorProto],
) -> None:
    """Such fields are masked where people read them, whatever they hold."""
    marked = {
        f"{name}.{field.name}"
        for name, message in messages(files)
        for field in message.field
        if field.options.debug_redact
    }
    named = {
        f"{name}.{field.name}"
        for name, message in messages(files)
        for field in message.field
        if field.type == field.TYPE_STRING
        and (field.name == "access_code" or field.name.endswith("email"))
    }
    assert marked == named | {"payment.v1.AccessCode.code"}
