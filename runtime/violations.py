"""What is wrong with a message: the constraints of its contract that it violates, in words.

The words stand here and not in the contracts: those are the same for every field with a constraint.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import protovalidate
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from buf.validate import validate_pb2

Words: TypeAlias = tuple[str, str]  # in English and in Chinese

_validator = protovalidate.Validator()
_REQUIRED: Words = ("is required", "为必填项")
_UNKNOWN_PATTERN: Words = ("has a form that is not allowed", "格式不正确")
_EXAMPLE_ULID = "01JZ5X3M8Q9VKD2T7R4W6Y0BCE"
_ID_PATTERN = re.compile(r"\^([a-z]{3}_)\[0-9A-HJKMNP-TV-Z\]\{26\}\$")
_PATTERNS: Mapping[str, Words] = {
    "^[A-Za-z0-9._:-]{1,64}$": (
        "must have 1 to 64 letters, digits, dots, dashes, underscores or colons",
        "必须为 1 到 64 个字符:字母、数字、点、短横线、下划线或冒号",
    ),
    "^[A-Za-z0-9][A-Za-z0-9._@-]{0,63}$": (
        "must have 1 to 64 letters, digits, dots, dashes, _ or @, and begin with a letter or digit",
        "必须为 1 到 64 个字符:字母、数字、点、短横线、下划线或 @,且以字母或数字开头",
    ),
    "^[a-z0-9][a-z0-9-]{0,63}$": (
        "must have 1 to 64 lower-case letters, digits or dashes, and not begin with a dash",
        "必须为 1 到 64 个字符:小写字母、数字或短横线,且不以短横线开头",
    ),
    "^[A-Za-z0-9_]{1,128}$": (
        "must have 1 to 128 letters, digits or underscores",
        "必须为 1 到 128 个字符:字母、数字或下划线",
    ),
    "^[A-Z]{3}$": (
        "must be a currency code of three capital letters such as CNY",
        "必须是由三个大写字母组成的货币代码,例如 CNY",
    ),
    "^([0-9A-HJKMNP-TV-Z]{4}-){3}[0-9A-HJKMNP-TV-Z]{4}$": (
        "must be an access code: four groups of four digits and capital letters, joined by dashes",
        "必须是访问码:四组字符以短横线连接,每组四个数字或大写字母",
    ),
    "^[^\\p{C}\\p{Zl}\\p{Zp}]+@[^\\p{C}\\p{Z}@]+\\p{Zs}*$": (
        "must be a mail address",
        "必须是有效的邮件地址",
    ),
    "^([^\\p{C}\\p{Zl}\\p{Zp}]|[\\x{200C}\\x{200D}])*$": (
        "must be one line of text without control or formatting characters",
        "必须是一行文字,不能含有控制字符或格式字符",
    ),
    "^[^\\x00]*$": ("must not contain the character NUL", "不能含有 NUL 字符"),
}
# By the rule's id, with "number" for all types of numbers; formatted with the rules of the field.
_TEMPLATES: Mapping[str, Words] = {
    "string.min_len": ("must have at least {min_len} characters", "至少需要 {min_len} 个字符"),
    "string.max_len": ("must have at most {max_len} characters", "最多 {max_len} 个字符"),
    "string.in": ("must be one of {options}", "必须是以下之一:{options}"),
    "bytes.min_len": ("must have at least {min_len} bytes", "至少需要 {min_len} 个字节"),
    "bytes.max_len": ("must have at most {max_len} bytes", "最多 {max_len} 个字节"),
    "number.gte": ("must be {gte} or more", "不能小于 {gte}"),
    "number.gt": ("must be more than {gt}", "必须大于 {gt}"),
    "number.lte": ("must be {lte} or less", "不能大于 {lte}"),
    "number.lt": ("must be less than {lt}", "必须小于 {lt}"),
    "number.gte_lte": ("must be from {gte} to {lte}", "必须在 {gte} 到 {lte} 之间"),
    "enum.defined_only": ("must be one of the values of {enum}", "必须是 {enum} 的值之一"),
    "enum.in": ("must be one of {options}", "必须是以下之一:{options}"),
    "enum.not_in": ("must not be {options}", "不能是 {options}"),
    "repeated.max_items": ("must have at most {max_items} entries", "最多 {max_items} 项"),
    "map.max_pairs": ("must have at most {max_pairs} entries", "最多 {max_pairs} 项"),
}


@dataclass(frozen=True, slots=True)
class Violation:
    """What is wanted of a field, in English and Chinese; the path of the whole message is ""."""

    field: str
    en: str
    zh: str

    def sentence(self, *, chinese: bool = False) -> str:
        """The field and what is wanted of it."""
        return f"{self.field} {self.zh if chinese else self.en}".lstrip()


def violations(message: Message) -> list[Violation]:
    """The violated constraints of a message; an empty field that must not be is listed once."""
    found = (
        Violation(_path(violation.proto.field), *_words(message.DESCRIPTOR, violation))
        for violation in _validator.collect_violations(message)
    )
    return list(dict.fromkeys(found))


def sentences(found: Iterable[Violation], *, chinese: bool = False) -> str:
    """The violations in one line."""
    return (";" if chinese else "; ").join(
        violation.sentence(chinese=chinese) for violation in found
    )


def _path(field: Any) -> str:
    return ".".join(_element(element) for element in field.elements) if field else ""


def _element(element: Any) -> str:
    subscript = element.subscript
    return f"{element.field_name}[{subscript.value}]" if subscript else str(element.field_name)


def _words(descriptor: Any, violation: protovalidate.Violation) -> Words:
    proto = violation.proto
    names = [element.field_name for element in proto.field.elements] if proto.field else []
    for name in names[:-1]:
        descriptor = descriptor.fields_by_name[name].message_type
    if oneof := descriptor.oneofs_by_name.get(names[-1]) if names else None:
        choice = ", ".join(field.name for field in oneof.fields)
        return f"is required: one of {choice}", f"为必填项:{choice} 之一"
    kind = proto.rule_id.partition(".")[0]
    is_empty = kind in {"string", "bytes", "enum"} and not violation.field_value
    if proto.rule_id == "required" or (is_empty and not proto.for_key):
        return _REQUIRED
    if not names:
        return proto.message, "不符合要求"
    field = descriptor.fields_by_name[names[-1]]
    rules = field.GetOptions().Extensions[validate_pb2.field]
    for element in proto.rule.elements[:-1] if proto.rule else ():
        rules = getattr(rules, element.field_name)
    english, chinese = _words_of_rule(proto, field, rules)
    if proto.for_key:
        return f"has a key that {english}", f"的键{chinese}"
    return english, chinese


def _words_of_rule(proto: Any, field: FieldDescriptor, rules: Any) -> Words:
    if proto.rule_id == "string.pattern":
        return _words_of_pattern(rules.pattern, field.name)
    kind, _, rule = proto.rule_id.partition(".")
    is_number = kind.startswith(("int", "uint", "sint", "fixed", "sfixed", "float", "double"))
    template = _TEMPLATES.get(f"number.{rule}" if is_number else proto.rule_id)
    if template is None:
        return proto.message, "不符合要求"
    values: dict[str, Any] = {limit.name: value for limit, value in rules.ListFields()}
    enum = field.enum_type
    options = values[rule] if rule in {"in", "not_in"} else ()
    names = (enum.values_by_number[option].name if enum else option for option in options)
    values |= {"enum": enum.name if enum else "", "options": ", ".join(names)}
    english, chinese = template
    return english.format(**values), chinese.format(**values)


def _words_of_pattern(pattern: str, field_name: str) -> Words:
    if id_ := _ID_PATTERN.fullmatch(pattern):
        kind = field_name.replace("_", " ") if field_name.endswith("_id") else "id"
        article = "an" if kind[0] in "aeiou" else "a"
        example = f"{id_[1]}{_EXAMPLE_ULID}"
        return f"must be {article} {kind} such as {example}", f"必须是形如 {example} 的编号"
    return _PATTERNS.get(pattern, _UNKNOWN_PATTERN)
