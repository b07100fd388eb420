"""Writes the names of the settings into the chart's schema, from the settings classes.

`python deploy/helm/write_setting_names.py [--check]`; `--check` only compares. Part of `make docs`.
"""

import json
import sys
from pathlib import Path
from typing import Any

from interview_svc.config import InterviewSettings
from notification_svc.config import NotificationSettings
from payment_svc.config import PaymentSettings
from runtime.settings import ServiceSettings

SCHEMA = Path(__file__).parent / "mock-interview" / "values.schema.json"
# What the chart sets by values of its own, or must not be set: the metrics of several processes
# have a port each, and a pod has one.
_OF_THE_CHART = frozenset(
    {
        *("LISTEN", "INTERNAL_LISTEN", "METRICS_LISTEN", "PROCESSES", "REUSE_PORT"),
        *("DATABASE_URL", "NATS_URL", "NATS_USER", "NATS_PASSWORD", "NATS_CREDENTIALS"),
        *("AUTH_KEYS", "AUTH_SIGNING_KEY", "AUTH_ISSUERS", "TLS_CERTIFICATE", "TLS_KEY"),
        *("PROVIDER_TARGET", "PROVIDER_SECRET", "PROVIDER_SECRET_OLD", "PAYMENT_TARGET"),
        *("SMTP_HOST", "SMTP_PORT", "SMTP_USER", "SMTP_PASSWORD", "SMTP_TLS", "MAIL_FROM"),
    }
)
_CLASSES: dict[str, type[ServiceSettings]] = {
    "payment": PaymentSettings,
    "interview": InterviewSettings,
    "notification": NotificationSettings,
}


def with_setting_names(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema, which is changed, with the settings that the code has now."""
    properties = schema["properties"]
    _name(properties["settings"], ServiceSettings)
    for service, settings in _CLASSES.items():
        _name(properties[service]["properties"]["settings"], settings)
    return schema


def _name(schema: dict[str, Any], settings: type[ServiceSettings]) -> None:
    names = [name.upper() for name in settings.model_fields]
    schema["propertyNames"]["enum"] = [name for name in names if name not in _OF_THE_CHART]


def main() -> None:
    text = SCHEMA.read_text("utf-8")
    current = json.dumps(with_setting_names(json.loads(text)), indent=2) + "\n"
    if "--check" in sys.argv[1:]:
        if current != text:
            sys.exit(f"{SCHEMA.name} lists other settings than the code: run `make docs`")
        return
    SCHEMA.write_text(current, "utf-8")


if __name__ == "__main__":
    main()
