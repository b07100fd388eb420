#!/usr/bin/env python3
"""From an order to an interview: `python examples/client.py`, while `devstack up` runs."""

import sys
import uuid

import grpc

from interview.v1 import interview_service_pb2, interview_service_pb2_grpc
from payment.v1 import (
    access_code_service_pb2,
    access_code_service_pb2_grpc,
    payment_service_pb2,
    payment_service_pb2_grpc,
)

# The session is prepared a moment after the payment: StartSession is UNAVAILABLE until then.
_RETRY = """{"methodConfig": [{"name": [{}], "retryPolicy": {
  "maxAttempts": 5, "initialBackoff": "0.2s", "maxBackoff": "2s", "backoffMultiplier": 2,
  "retryableStatusCodes": ["UNAVAILABLE"]}}]}"""
_OPTIONS = [("grpc.service_config", _RETRY)]


def main(payment: str = "127.0.0.1:50051", interview: str = "127.0.0.1:50052") -> None:
    """Orders, pays and starts; the code also comes by mail, to `.dev/mail`."""
    with (
        grpc.insecure_channel(payment, _OPTIONS) as sales,
        grpc.insecure_channel(interview, _OPTIONS) as interviews,
    ):
        payments = payment_service_pb2_grpc.PaymentServiceStub(sales)
        codes = access_code_service_pb2_grpc.AccessCodeServiceStub(sales)
        request_id = uuid.uuid4().hex  # the same call with the same id has one effect
        wanted = payment_service_pb2.CreateOrderRequest(
            request_id=request_id, customer_id="li-hua", product_id="backend-60"
        )
        wanted.recipient.email, wanted.recipient.language_code = "li.hua@example.com", "en"
        order_id = payments.CreateOrder(wanted).order.order_id
        payments.CreatePayment(
            payment_service_pb2.CreatePaymentRequest(
                request_id=request_id, order_id=order_id, payment_method="sandbox_approve"
            )
        )
        name = access_code_service_pb2.GetAccessCodeRequest(order_id=order_id)
        start = interview_service_pb2.StartSessionRequest(
            request_id=request_id, access_code=codes.GetAccessCode(name).record.code
        )
        session = interview_service_pb2_grpc.InterviewServiceStub(interviews).StartSession(start)
        print(f"{session.session.session_id} is under way")  # noqa: T201


if __name__ == "__main__":
    main(*sys.argv[1:])
