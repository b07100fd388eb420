"""The payment provider, as payment sees it: a port, and the sandbox provider behind it."""

from payment_svc.gateways.port import (
    NotificationMalformed,
    PaymentGateway,
    ProviderNotification,
    SignatureInvalid,
)
from payment_svc.gateways.sandbox import SandboxGateway
from payment_svc.gateways.webhooks import SIGNATURE_HEADER

__all__ = [
    "SIGNATURE_HEADER",
    "NotificationMalformed",
    "PaymentGateway",
    "ProviderNotification",
    "SandboxGateway",
    "SignatureInvalid",
]
