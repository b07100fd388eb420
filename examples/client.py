#!/usr/bin/env python3
"""From an order to an interview: `python examples/client.py PAYMENT INTERVIEW TOKEN MAIL_ADDRESS`.

While `make up` runs: .venv/bin/python examples/client.py 127.0.0.1:50051 127.0.0.1:50052 \
    "$(cat .dev/tokens/storefront)" li.hua@example.com     (mails are files in .dev/mail)
"""

import asyncio
import sys
import uuid

from clients import CallFailed, Service, connect
from interview.v1.interview_service_pb2 import StartSessionRequest
from payment.v1.access_code_pb2 import Recipient
from payment.v1.payment_service_pb2 import CreateOrderRequest, CreatePaymentRequest


async def main(payment: str, interview: str, token: str, email: str) -> None:
    """Creates and pays an order, asks for the access code in the mail, starts the interview."""
    addresses = {Service.PAYMENT: payment, Service.INTERVIEW: interview}
    request_id = uuid.uuid4().hex  # a repeated call with the same id has no second effect
    async with connect(addresses, token=token) as clients:
        create_order = CreateOrderRequest(
            request_id=request_id,
            customer_id="li.hua",
            product_id="backend-60",
            recipient=Recipient(email=email),
        )
        order = (await clients.payments.CreateOrder(create_order)).order
        create_payment = CreatePaymentRequest(
            request_id=request_id, order_id=order.order_id, payment_method="sandbox_approve"
        )
        await clients.payments.CreatePayment(create_payment)
        prompt = f"{order.order_id} is paid. Access code in the mail: "
        code = await asyncio.to_thread(input, prompt)
        start_session = StartSessionRequest(request_id=request_id, access_code=code)
        session = (await clients.interviews.StartSession(start_session)).session
    print(f"{session.session_id} is in progress")  # noqa: T201


if __name__ == "__main__":
    try:
        asyncio.run(main(*sys.argv[1:]))
    except CallFailed as error:  # for programs: error.code(), error.reason, error.retry_delay
        sys.exit(str(error))
