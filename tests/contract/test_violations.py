"""Violated constraints are explained in words, in English and Chinese, for every field.

Every constraint of every message of the contracts is violated once.
"""

import importlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from buf.validate import validate_pb2
from interview.v1.interview_service_pb2 import CreateFeedbackRequest
from payment.v1.access_code_service_pb2 import GetAccessCodeRequest
from payment.v1.payment_service_pb2 import CreateOrderRequest, GetOrderRequest, ListOrdersRequest
from runtime.violations import violations

PROTOS = Path(__file__).parents[2] / "protos"
_VALUES: dict[int, tuple[Any, ...]] = {
    FieldDescriptor.CPPTYPE_STRING: ("", "\x00\n", "x" * 70_000),
    FieldDescriptor.CPPTYPE_INT32: (0, -1, 2**31 - 1),
    FieldDescriptor.CPPTYPE_INT64: (0, -1, 2**63 - 1),
    FieldDescriptor.CPPTYPE_ENUM: (0, 99),
}
_METACHARACTERS = re.compile(r"[\^$*+?{}|\\\[\]]")


def message_types() -> Iterator[Descriptor]:
    for path in sorted(PROTOS.rglob("*.proto")):
        name = path.relative_to(PROTOS).with_suffix("").as_posix().replace("/", ".")
        yield from importlib.import_module(f"{name}_pb2").DESCRIPTOR.message_types_by_name.values()


def invalid_messages(descriptor: Descriptor) -> Iterator[Message]:
    """Messages of a type in which one field has a value that its constraints may forbid."""
    new = GetMessageClass(descriptor)
    yield new()
    for field in descriptor.fields:
        if field.message_type and field.message_type.GetOptions().map_entry:
            message = new()
            getattr(message, field.name).update({"k" * 70_000: "v" * 70_000})
            yield message
            message = new()
            getattr(message, field.name).update({str(n): "" for n in range(1000)})
            yield message
            continue
        if field.message_type:
            if field.is_repeated:
                message = new()
                getattr(message, field.name).extend(
                    GetMessageClass(field.message_type)() for _ in range(1000)
                )
                yield message
            continue
        values = _VALUES.get(field.cpp_type, ())
        if field.type == FieldDescriptor.TYPE_BYTES:
            values = (b"", b"x" * 70_000)
        for value in values:
            message = new()
            if field.is_repeated:
                getattr(message, field.name).append(value)
            else:
                setattr(message, field.name, value)
            yield message


def rule_ids(rules: Message, kind: str = "") -> Iterator[str]:
    """The constraints that a field declares, such as string.pattern; of items and keys, too."""
    for option, value in rules.ListFields():
        if isinstance(value, validate_pb2.FieldRules):
            yield from rule_ids(value)
        elif option.message_type:
            yield from rule_ids(value, option.name)
        elif option.name == "required":
            yield "required"
        elif kind:
            yield f"{kind}.{option.name}"


TYPES = [pytest.param(descriptor, id=descriptor.full_name) for descriptor in message_types()]


@pytest.mark.parametrize("descriptor", TYPES)
def test_no_violation_shows_a_regular_expression(descriptor: Descriptor) -> None:
    for message in invalid_messages(descriptor):
        for violation in violations(message):
            for text in (violation.en, violation.zh):
                assert text
                assert not _METACHARACTERS.search(text), (violation.field, text)
                assert "pattern" not in text
            assert re.search("[\u4e00-\u9fff]", violation.zh), violation
            assert not re.search("[\u4e00-\u9fff]", violation.en), violation
            assert len(violation.en) <= 120
            assert violation.zh not in {"不符合要求", "格式不正确"}, violation


@pytest.mark.parametrize("descriptor", TYPES)
def test_every_declared_constraint_is_violated_here(descriptor: Descriptor) -> None:
    """Otherwise the test above does not cover it."""
    violated: dict[str, int] = {}
    for message in invalid_messages(descriptor):
        for violation in violations(message):
            violated[violation.field] = violated.get(violation.field, 0) + 1
    for field in descriptor.fields:
        declared = list(rule_ids(field.GetOptions().Extensions[validate_pb2.field]))
        if declared:
            assert any(path.split("[")[0] == field.name for path in violated), field.full_name


def texts(message: Message) -> dict[str, str]:
    return {violation.field: violation.en for violation in violations(message)}


def test_an_id_is_explained_by_an_example() -> None:
    [violation] = violations(GetOrderRequest(order_id="1"))
    assert violation.sentence() == (
        "order_id must be an order id such as ord_01JZ5X3M8Q9VKD2T7R4W6Y0BCE"
    )
    assert violation.sentence(chinese=True) == (
        "order_id 必须是形如 ord_01JZ5X3M8Q9VKD2T7R4W6Y0BCE 的编号"
    )
    example = violation.en.rpartition(" ")[2]
    assert violations(GetOrderRequest(order_id=example)) == []


def test_an_empty_required_field_is_said_to_be_required() -> None:
    required = dict.fromkeys(
        ["request_id", "customer_id", "product_id", "recipient"], "is required"
    )
    assert texts(CreateOrderRequest()) == required
    assert texts(GetOrderRequest()) == {"order_id": "is required"}
    assert texts(CreateFeedbackRequest())["summary"] == "is required"
    assert texts(GetAccessCodeRequest()) == {
        "name": "is required: one of access_code_id, access_code, order_id"
    }


def test_limits_and_choices_are_given() -> None:
    assert texts(ListOrdersRequest(page_size=501, status=99)) == {  # type: ignore[arg-type]
        "page_size": "must be from 0 to 500",
        "status": "must be one of the values of OrderStatus",
    }
    recipient = {"email": "a@b", "language_code": "de", "display_name": "x" * 101}
    order = CreateOrderRequest(request_id="r", customer_id="c", product_id="p", recipient=recipient)
    assert texts(order) == {
        "recipient.language_code": "must be one of zh-CN, en",
        "recipient.display_name": "must have at most 100 characters",
    }
