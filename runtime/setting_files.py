"""Settings whose values are in files: see `eventbus.variable_files`."""

import os
from typing import Any

from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource

from eventbus.variable_files import values_of_files


class SettingFiles(PydanticBaseSettingsSource):
    """Reads `<PREFIX><NAME>_FILE`; calling it raises VariableFilesUnreadable."""

    def __init__(self, settings_cls: type[BaseSettings]) -> None:
        super().__init__(settings_cls)
        prefix = str(settings_cls.model_config.get("env_prefix", ""))
        self._fields = {f"{prefix}{name.upper()}": name for name in settings_cls.model_fields}

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        """Not used: `__call__` reads all fields."""
        raise NotImplementedError

    def __call__(self) -> dict[str, Any]:
        values = values_of_files(self._fields, os.environ)
        return {self._fields[variable]: value for variable, value in values.items()}
