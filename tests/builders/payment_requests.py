"""Builds requests to payment and the provider's webhook bodies."""

import json

from payment.v1 import access_code_pb2, payment_service_pb2


def create_order_request(
    customer_id: str,
    email: str,
    *,
    request_id: str = "",
    display_name: str = "",
    language_code: str = "",
) -> payment_service_pb2.CreateOrderRequest:
    """A valid request; without a request id, the customer's id is one."""
    return payment_service_pb2.CreateOrderRequest(
        request_id=request_id or customer_id,
        customer_id=customer_id,
        product_id="backend-60",
        recipient=access_code_pb2.Recipient(
            email=email, display_name=display_name, language_code=language_code
        ),
    )


def charge_notification(payment: payment_service_pb2.Payment, **changes: object) -> bytes:
    """The provider's webhook body that a payment is captured, with some fields changed."""
    charge = {
        "charge_id": "chg_1",
        "idempotency_key": payment.payment_id,
        "order_id": payment.order_id,
        "amount_minor": payment.amount.amount_minor,
        "currency_code": payment.amount.currency_code,
        "status": "CAPTURED",
        "decline_reason": "",
    }
    return json.dumps({"type": "charge.updated", "charge": {**charge, **changes}}).encode()
