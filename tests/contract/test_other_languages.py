"""The contracts as users of other languages take them: buf, protoc and the descriptor set.

@grpc/proto-loader reads them in tests/system/test_examples.py.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from google.protobuf import descriptor_pb2, descriptor_pool
from protovalidate._gen.buf.validate import validate_pb

from tests.system.drivers.project_copy import copy_of_the_project, make

_SCRIPTS = Path(sys.executable).parent
_ENVIRONMENT = {**os.environ, "PATH": f"{_SCRIPTS}{os.pathsep}{os.environ['PATH']}"}
_VALIDATE = "buf/validate/validate.proto"


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project in which `make contracts` was run."""
    copy = copy_of_the_project(tmp_path_factory.mktemp("project"))
    result = make(copy, "contracts")
    assert result.returncode == 0, result.stderr
    return copy


def run(tree: Path, *command: str) -> str:
    result = subprocess.run(  # noqa: S603
        command, cwd=tree, env=_ENVIRONMENT, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def contracts(tree: Path) -> list[str]:
    return sorted(path.relative_to(tree).as_posix() for path in (tree / "protos").rglob("*.proto"))


@pytest.mark.parametrize("command", ["lint", "build", "generate"])
def test_buf_works_from_the_tree(tree: Path, command: str) -> None:
    run(tree, "buf", command)


def test_plain_protoc_needs_one_more_folder(tree: Path) -> None:
    protoc = "python-grpc-tools-protoc"  # no more than protoc and its own imports
    output = "--descriptor_set_out=protoc.binpb"
    run(tree, protoc, "-Iprotos", "-Ibuild/protos", output, *contracts(tree))


def test_the_imported_file_compiles_to_the_descriptor_of_protovalidate(tree: Path) -> None:
    run(
        tree,
        "python-grpc-tools-protoc",
        "-Ibuild/protos",
        "--descriptor_set_out=v.binpb",
        _VALIDATE,
    )
    compiled = descriptor_pb2.FileDescriptorSet.FromString((tree / "v.binpb").read_bytes())
    published = validate_pb._DESC.proto.to_binary()
    assert list(compiled.file) == [descriptor_pb2.FileDescriptorProto.FromString(published)]


def test_the_descriptor_set_is_complete_and_has_comments(tree: Path) -> None:
    """Nothing else is needed to build the descriptors."""
    content = (tree / "build" / "contracts.binpb").read_bytes()
    files = descriptor_pb2.FileDescriptorSet.FromString(content).file
    names = {file.name for file in files}
    assert {f"protos/{name}" for name in names} >= set(contracts(tree))
    assert _VALIDATE in names
    pool = descriptor_pool.DescriptorPool()
    for file in files:
        pool.Add(file)
        assert any(location.leading_comments for location in file.source_code_info.location) or (
            file.name == _VALIDATE
        )
    pool.FindServiceByName("payment.v1.PaymentService")


def test_the_descriptor_set_follows_the_contracts(tree: Path) -> None:
    """`make contracts` writes it again after a change of a contract."""
    image = tree / "build" / "contracts.binpb"
    contract = tree / "protos" / "payment" / "v1" / "money.proto"
    before, text = image.read_bytes(), contract.read_text("utf-8")
    contract.write_text(f"{text}\n// A new message.\nmessage Added {{}}\n", "utf-8")
    result = make(tree, "contracts")
    assert result.returncode == 0, result.stderr
    assert image.read_bytes() != before
    assert b"Added" in image.read_bytes()
    contract.write_text(text, "utf-8")


def test_every_file_has_the_go_package_of_its_folder(tree: Path) -> None:
    content = (tree / "build" / "contracts.binpb").read_bytes()
    for file in descriptor_pb2.FileDescriptorSet.FromString(content).file:
        if file.package.split(".")[0] in ("google", "buf"):
            continue
        path, name = file.package.replace(".", "/"), file.package.replace(".", "")
        assert file.options.go_package == f"mockinterview.example/contracts/{path};{name}"


def test_source_that_compiles_to_another_descriptor_is_refused(tree: Path) -> None:
    """A file with elements that are not written is no silent loss: here a service."""
    script = (
        "import sys; sys.path.insert(0, 'protos')\n"
        "from google.protobuf import descriptor_pb2\n"
        "import compile\n"
        "file = descriptor_pb2.FileDescriptorProto(name='lost.proto', package='lost')\n"
        "file.message_type.add(name='M')\n"
        "file.service.add(name='S').method.add(name='Do', input_type='.lost.M',"
        " output_type='.lost.M')\n"
        "compile.write_imported_file(file.SerializeToString())\n"
    )
    result = subprocess.run(  # noqa: S603
        [sys.executable, "-c", script], cwd=tree, capture_output=True, text=True, check=False
    )
    assert result.returncode == 1
    assert "lost.proto" in result.stderr
