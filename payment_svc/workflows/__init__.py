"""Paying, across transactions: the provider is never called inside one."""

from payment_svc.workflows.order_closing import Closing, Expiry
from payment_svc.workflows.payments import Charging, ProviderUnavailable, Reconciler
from payment_svc.workflows.webhooks import NotificationIntake, NotificationWorker

__all__ = [
    "Charging",
    "Closing",
    "Expiry",
    "NotificationIntake",
    "NotificationWorker",
    "ProviderUnavailable",
    "Reconciler",
]
