"""Writes a file descriptor as .proto source.

Covered is what the files of other projects need that the contracts import: proto2 with enums,
top-level messages, oneofs, extensions, reserved names and options. `compile.py` compiles the source
again and compares it with the descriptor, so that a file with anything else is refused.
"""

from collections.abc import Iterator

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, text_format
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

_Field = descriptor_pb2.FieldDescriptorProto
_LABELS = {
    _Field.LABEL_OPTIONAL: "optional",
    _Field.LABEL_REPEATED: "repeated",
    _Field.LABEL_REQUIRED: "required",
}


def proto_source(
    file: descriptor_pb2.FileDescriptorProto, pool: descriptor_pool.DescriptorPool
) -> str:
    """Returns the source of a file. `pool` contains it and its imports."""
    return "\n".join(_Source(pool).lines(file)) + "\n"


class _Source:
    def __init__(self, pool: descriptor_pool.DescriptorPool) -> None:
        self._pool = pool

    def lines(self, file: descriptor_pb2.FileDescriptorProto) -> Iterator[str]:
        yield f'syntax = "{file.syntax or "proto2"}";'
        yield f"package {file.package};"
        yield from (f'import "{name}";' for name in file.dependency)
        yield from (f"option {option};" for option in self._options(file.options))
        for extension in file.extension:
            yield f"extend {extension.extendee} {{"
            yield f"  {self._field(extension)}"
            yield "}"
        for message in file.message_type:
            yield f"message {message.name} {{"
            yield from (f"  {line}" for line in self._message(message))
            yield "}"
        for enum in file.enum_type:
            yield f"enum {enum.name} {{"
            yield from (f"  {line}" for line in self._enum(enum))
            yield "}"

    def _message(self, message: descriptor_pb2.DescriptorProto) -> Iterator[str]:
        yield from (f"option {option};" for option in self._options(message.options))
        yield from (f"reserved {part.start} to {part.end - 1};" for part in message.reserved_range)
        yield from (f'reserved "{name}";' for name in message.reserved_name)
        for part in message.extension_range:
            yield f"extensions {part.start} to {part.end - 1};"
        # The fields of a oneof are adjacent in valid source; others keep their order.
        oneof: int | None = None
        for field in message.field:
            index = field.oneof_index if field.HasField("oneof_index") else None
            if index != oneof:
                if oneof is not None:
                    yield "}"
                if index is not None:
                    declaration = message.oneof_decl[index]
                    yield f"oneof {declaration.name} {{"
                    yield from (f"  option {line};" for line in self._options(declaration.options))
                oneof = index
            yield f"  {self._field(field)}" if oneof is not None else self._field(field)
        if oneof is not None:
            yield "}"

    def _enum(self, enum: descriptor_pb2.EnumDescriptorProto) -> Iterator[str]:
        yield from (f"option {option};" for option in self._options(enum.options))
        yield from (f"reserved {part.start} to {part.end};" for part in enum.reserved_range)
        yield from (f'reserved "{name}";' for name in enum.reserved_name)
        for value in enum.value:
            yield f"{value.name} = {value.number}{self._bracketed(value.options)};"

    def _field(self, field: descriptor_pb2.FieldDescriptorProto) -> str:
        label = "" if field.HasField("oneof_index") else f"{_LABELS[field.label]} "
        kind = field.type_name or _Field.Type.Name(field.type).removeprefix("TYPE_").lower()
        options = self._bracketed(field.options)
        return f"{label}{kind} {field.name} = {field.number}{options};"

    def _bracketed(self, options: Message) -> str:
        assignments = ", ".join(self._options(options))
        return f" [{assignments}]" if assignments else ""

    def _options(self, options: Message) -> Iterator[str]:
        """Yields every option as `name = value`, also those that extensions define."""
        kind = self._pool.FindMessageTypeByName(options.DESCRIPTOR.full_name)
        known = message_factory.GetMessageClass(kind).FromString(options.SerializeToString())
        for field, value in known.ListFields():
            name = f"({field.full_name})" if field.is_extension else field.name
            for element in value if field.is_repeated else [value]:
                yield f"{name} = {_value(field, element)}"


def _value(field: FieldDescriptor, value: object) -> str:
    if isinstance(value, Message):
        return f"{{ {text_format.MessageToString(value, as_one_line=True)} }}"
    if field.enum_type:
        return str(field.enum_type.values_by_number[value].name)
    if isinstance(value, str):
        return f'"{text_format.text_encoding.CEscape(value, as_utf8=True)}"'
    return str(value).lower()
