"""Paying, across transactions: the provider is never called inside one."""

from payment_svc.workflows.order_closing import OrderClosing, OrderExpiry
from payment_svc.workflows.payments import (
    PaymentReconciliation,
    PaymentWorkflow,
    ProviderUnavailable,
)
from payment_svc.workflows.webhooks import WebhookIntake, WebhookProcessing

__all__ = [
    "OrderClosing",
    "OrderExpiry",
    "PaymentReconciliation",
    "PaymentWorkflow",
    "ProviderUnavailable",
    "WebhookIntake",
    "WebhookProcessing",
]
