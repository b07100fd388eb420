"""The port to a payment provider, and its implementation for the sandbox provider."""

from payment_svc.gateways.port import (
    PaymentGateway,
    SignatureInvalid,
    WebhookMalformed,
    WebhookPayload,
)
from payment_svc.gateways.sandbox import SandboxGateway
from payment_svc.gateways.webhooks import SIGNATURE_HEADER

__all__ = [
    "SIGNATURE_HEADER",
    "PaymentGateway",
    "SandboxGateway",
    "SignatureInvalid",
    "WebhookMalformed",
    "WebhookPayload",
]
