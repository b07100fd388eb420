"""Records the contracts as published: `python protos/publish.py` (make publish-contracts).

A published contract must not break: the descriptor set and one encoded example of every version of
every event are kept under tests/contract/golden, and the contract tests compare against them. This
script adds new elements and fails on breaking changes; it never modifies an existing example.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

from compile import PROTOS, write_image
from google.protobuf import descriptor_pb2, json_format
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from runtime.ops.event_json import event_class

GOLDEN = PROTOS.parent / "tests" / "contract" / "golden"
IMAGE = GOLDEN / "contracts.binpb"
_BUF_FOUND_BREAKING = 100  # exit status
_BASE_SECONDS = 1_790_000_000


def breaking_changes(published: Path) -> str:
    """Reports the breaking changes against the published contracts; empty if none."""
    buf = Path(sys.executable).parent / "buf"
    command = [str(buf), "breaking", "protos", "--against", str(published)]
    result = subprocess.run(  # noqa: S603  own tool and files
        command, cwd=PROTOS.parent, capture_output=True, text=True, check=False
    )
    if result.returncode not in (0, _BUF_FOUND_BREAKING):
        raise SystemExit(f"buf failed: {result.stderr}")
    return result.stdout


def event_names(image: Path) -> list[str]:
    """Returns the full names of all events in an image."""
    files = descriptor_pb2.FileDescriptorSet.FromString(image.read_bytes()).file
    return [
        f"{file.package}.{message.name}"
        for file in files
        if file.name.endswith("/events.proto")
        for message in file.message_type
    ]


def example(message_type: type[Message]) -> Message:
    """Returns a message with every field set."""
    message = message_type()
    for field in message.DESCRIPTOR.fields:
        _fill(message, field)
    return message


def _fill(message: Message, field: FieldDescriptor) -> None:
    if field.message_type is None:
        value = {
            FieldDescriptor.CPPTYPE_STRING: f"the {field.name}",
            FieldDescriptor.CPPTYPE_ENUM: 1,
            FieldDescriptor.CPPTYPE_BOOL: True,
        }.get(field.cpp_type, field.number + 100)
        if field.is_repeated:
            getattr(message, field.name).append(value)
        else:
            setattr(message, field.name, value)
    elif field.message_type.full_name == "google.protobuf.Timestamp":
        getattr(message, field.name).FromSeconds(_BASE_SECONDS + field.number)
    else:
        child = getattr(message, field.name)
        child = child.add() if field.is_repeated else child
        for child_field in field.message_type.fields:
            _fill(child, child_field)


def _without_comments(image: Path) -> bytes:
    files = descriptor_pb2.FileDescriptorSet.FromString(image.read_bytes())
    for file in files.file:
        file.ClearField("source_code_info")
    return files.SerializeToString(deterministic=True)


def _add_example(name: str) -> None:
    encoded = example(event_class(name)).SerializeToString(deterministic=True)
    directory = GOLDEN / "events" / name
    directory.mkdir(parents=True, exist_ok=True)
    examples = sorted(directory.glob("*.binpb"))
    if any(path.read_bytes() == encoded for path in examples):
        return
    number = len(examples) + 1
    (directory / f"{number}.binpb").write_bytes(encoded)
    decoded = json_format.MessageToJson(
        event_class(name).FromString(encoded), preserving_proto_field_name=True, sort_keys=True
    )
    (directory / f"{number}.json").write_text(f"{decoded}\n", "utf-8")


def main() -> None:
    GOLDEN.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as directory:
        image = Path(directory) / "contracts.binpb"
        write_image(image)
        if IMAGE.exists() and (report := breaking_changes(IMAGE)):
            raise SystemExit(f"breaking changes against the published contracts:\n{report}")
        IMAGE.write_bytes(_without_comments(image))
    for name in event_names(IMAGE):
        _add_example(name)


if __name__ == "__main__":
    main()
