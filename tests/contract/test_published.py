"""What was published stays: contracts don't break, and every event ever encoded still decodes."""

import importlib
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from google.protobuf import descriptor_pool, json_format, message_factory
from google.protobuf.message import Message

ROOT = Path(__file__).parents[2]
GOLDEN = Path(__file__).parent / "golden"
EXAMPLES = sorted(GOLDEN.glob("events/*/*.binpb"))
RULES = '{"version":"v2","breaking":{"use":["FILE"]}}'


def message_class(name: str) -> type[Message]:
    importlib.import_module(f"{name.rpartition('.')[0]}.events_pb2")
    return message_factory.GetMessageClass(descriptor_pool.Default().FindMessageTypeByName(name))


def breaking(protos: Path, directory: Path) -> subprocess.CompletedProcess[str]:
    """What buf says of the contracts in a directory, against the published ones."""
    image = directory / "image.binpb"
    compiler = [sys.executable, str(protos / "compile.py"), "--image", str(image)]
    subprocess.run(compiler, check=True, capture_output=True)  # noqa: S603
    buf = Path(sys.executable).parent / "buf"
    return subprocess.run(  # noqa: S603
        [buf, "breaking", image, "--against", GOLDEN / "contracts.binpb", "--config", RULES],
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_contracts_break_nothing_that_was_published(tmp_path: Path) -> None:
    result = breaking(ROOT / "protos", tmp_path)
    assert (result.returncode, result.stdout) == (0, "")


@pytest.mark.parametrize(
    ("file", "before", "after"),
    [
        ("payment/v1/events.proto", "string access_code = 2", "string code = 2"),
        ("payment/v1/events.proto", "int64 version = 5", "int32 version = 5"),
        ("interview/v1/events.proto", "string session_id = 1", "string session_id = 9"),
        ("payment/v1/access_code_service.proto", "rpc ValidateAccessCode", "rpc CheckCode"),
    ],
)
def test_a_breaking_change_is_found(tmp_path: Path, file: str, before: str, after: str) -> None:
    for source in (ROOT / "protos").rglob("*"):
        if source.suffix in {".proto", ".py"}:
            target = tmp_path / "protos" / source.relative_to(ROOT / "protos")
            target.parent.mkdir(parents=True, exist_ok=True)
            text = source.read_text("utf-8")
            target.write_text(text.replace(before, after) if str(source).endswith(file) else text)
    result = breaking(tmp_path / "protos", tmp_path)
    assert result.returncode != 0
    assert file in result.stdout


def test_every_event_has_an_example() -> None:
    packages = [path.parent for path in (ROOT / "protos").rglob("events.proto")]
    found = {
        f"{'.'.join(package.relative_to(ROOT / 'protos').parts)}.{name}"
        for package in packages
        for name in re.findall(
            r"^message (\w+)", (package / "events.proto").read_text(), re.MULTILINE
        )
    }
    assert found == {path.parent.name for path in EXAMPLES}


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_every_event_ever_published_still_decodes(path: Path) -> None:
    message = message_class(path.parent.name).FromString(path.read_bytes())
    shown = json_format.MessageToDict(message, preserving_proto_field_name=True)
    assert shown == json.loads(path.with_suffix(".json").read_text("utf-8"))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_fields_of_a_newer_publisher_survive(path: Path) -> None:
    unknown = b"\xfa\x3f\x05later"  # field 1023, a string
    message = message_class(path.parent.name).FromString(path.read_bytes() + unknown)
    assert message.SerializeToString().endswith(unknown)
