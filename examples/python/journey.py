#!/usr/bin/env python3
"""From an order to an interview: `examples/python/journey.py PAYMENT INTERVIEW TOKEN MAIL_ADDRESS`.

It pays an order, starts the interview with the access code from the mail, and waits until the code
is redeemed.
"""

import asyncio
import sys
import uuid

from clients import CallFailed, Clients, Service, connect
from interview.v1.interview_service_pb2 import StartSessionRequest
from payment.v1.access_code_pb2 import Recipient
from payment.v1.access_code_service_pb2 import (
    VALIDATION_REASON_REDEEMED,
    ValidateAccessCodeRequest,
)
from payment.v1.payment_service_pb2 import (
    PAYMENT_STATUS_SUCCEEDED,
    CreateOrderRequest,
    CreatePaymentRequest,
    PaymentStatus,
)


async def main(payment: str, interview: str, token: str, email: str) -> None:
    """Pays an order, asks for the access code in the mail, starts the interview."""
    addresses = {Service.PAYMENT: payment, Service.INTERVIEW: interview}
    async with connect(addresses, token=token) as clients:
        order_id = await pay_order(clients, email)
        code = await asyncio.to_thread(input, f"{order_id} is paid. Access code in the mail: ")
        start_session = StartSessionRequest(request_id=uuid.uuid4().hex, access_code=code)
        session = (await clients.interviews.StartSession(start_session)).session
        print(f"{session.session_id} is in progress")  # noqa: T201
        async with asyncio.timeout(30):
            await wait_until_redeemed(clients, code)
        print("the access code is redeemed")  # noqa: T201


async def pay_order(clients: Clients, email: str) -> str:
    """Returns the id of a new, paid order."""
    request_id = uuid.uuid4().hex  # a repeated call with the same id has no second effect
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
    payment = (await clients.payments.CreatePayment(create_payment)).payment
    if payment.status != PAYMENT_STATUS_SUCCEEDED:
        sys.exit(f"the payment of {order.order_id} is {PaymentStatus.Name(payment.status)}")
    return order.order_id


async def wait_until_redeemed(clients: Clients, code: str) -> None:
    """The event InterviewStarted redeems the code, shortly after the start."""
    validate = ValidateAccessCodeRequest(access_code=code)
    while True:
        validated = await clients.codes.ValidateAccessCode(validate)
        if validated.reason == VALIDATION_REASON_REDEEMED:
            return
        await asyncio.sleep(0.2)


if __name__ == "__main__":
    try:
        asyncio.run(main(*sys.argv[1:]))
    except CallFailed as error:  # for programs: error.code(), error.reason, error.retry_delay
        sys.exit(str(error))
