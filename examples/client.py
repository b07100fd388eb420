#!/usr/bin/env python3
"""From an order to an interview: `python examples/client.py PAYMENT INTERVIEW TOKEN MAIL_ADDRESS`.

While `make up` runs: .venv/bin/python examples/client.py 127.0.0.1:50051 127.0.0.1:50052 \
    "$(cat .dev/tokens/storefront)" li.hua@example.com     (the mail lies in .dev/mail)
"""

import sys
import uuid

import grpc

from interview.v1 import interview_service_pb2, interview_service_pb2_grpc
from payment.v1 import payment_service_pb2, payment_service_pb2_grpc


def main(payment: str, interview: str, token: str, email: str) -> None:
    """Orders and pays; asks for the code that comes by mail; starts the interview."""
    caller = [("authorization", f"Bearer {token}")]
    request_id = uuid.uuid4().hex  # the same call with the same id has one effect
    with grpc.insecure_channel(payment) as channel:
        payments = payment_service_pb2_grpc.PaymentServiceStub(channel)
        wanted = payment_service_pb2.CreateOrderRequest(
            request_id=request_id, customer_id="li.hua", product_id="backend-60"
        )
        wanted.recipient.email = email
        order = payments.CreateOrder(wanted, metadata=caller).order
        attempt = payment_service_pb2.CreatePaymentRequest(
            request_id=request_id, order_id=order.order_id, payment_method="sandbox_approve"
        )
        payments.CreatePayment(attempt, metadata=caller)
    code = input(f"{order.order_id} is paid. The access code in the mail: ")
    with grpc.insecure_channel(interview) as channel:
        interviews = interview_service_pb2_grpc.InterviewServiceStub(channel)
        start = interview_service_pb2.StartSessionRequest(request_id=request_id, access_code=code)
        session = interviews.StartSession(start, metadata=caller).session
    print(f"{session.session_id} is under way")  # noqa: T201


if __name__ == "__main__":
    main(*sys.argv[1:])
