"""Faults of settings in the words of people, who know the names of variables."""

import re

from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings


def describe(settings: type[BaseSettings], fault: ErrorDetails) -> str:
    """The variable and what is wrong with it; a fault of several names them itself."""
    prefix = str(settings.model_config.get("env_prefix", ""))
    fields = [name for name in settings.model_fields if "_" in name]
    name_of_field = re.compile(rf"(?<![\w/.-])(?:{'|'.join(fields)})(?![\w/.-])")
    message = fault["msg"]
    if fault["type"] == "value_error":  # pydantic's text has a prefix
        message = str(fault["ctx"]["error"])
        message = name_of_field.sub(lambda found: prefix + found[0].upper(), message)
    elif fault["type"] == "string_pattern_mismatch":  # it shows the regular expression
        message = f"it must be {settings.model_fields[str(fault['loc'][0])].description}"
    if not fault["loc"]:
        return message
    field, *inner = fault["loc"]
    places = [f"entry {part + 1}" if isinstance(part, int) else part for part in inner]
    return f"{', '.join([prefix + str(field).upper(), *places])}: {message}"
