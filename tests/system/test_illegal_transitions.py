"""Every transition that a state machine does not have is refused and changes nothing.

The error is FAILED_PRECONDITION with a reason and one violation, which names the object, its state
and the refused step.
"""

import re
import secrets
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, NamedTuple

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from clients import error_details
from interview.v1 import interview_service_pb2, session_pb2
from notification.v1 import notification_service_pb2
from ops.v1 import ops_service_pb2
from payment.v1 import access_code_pb2, access_code_service_pb2, payment_service_pb2
from tests.system.drivers.access_codes import change_access_code
from tests.system.drivers.dead_letters import discard_dead_letter, replay_dead_letter
from tests.system.drivers.given_states import GIVEN_STATES, Given
from tests.system.drivers.grpc_calls import precondition_violation
from tests.system.drivers.interviews import Interview
from tests.system.drivers.payments import cancel_order
from tests.system.drivers.refunds import create_refund
from tests.system.drivers.running_stack import RunningStack

PRICE = 19900


class Refusal(NamedTuple):
    """A refused call, with its variant, and what the error contains."""

    call: str
    reason: str
    kind: str
    state: str
    step: str


ORDER, PAYMENT, CODE = "ORDER_STATUS", "PAYMENT_STATUS", "ACCESS_CODE_STATUS"
SESSION, MAIL, DEAD_LETTER = "SESSION_STATUS", "NOTIFICATION_STATUS", "DEAD_LETTER"
PAYMENT_NOTIFICATION = "PAYMENT_NOTIFICATION_STATUS"


def closed_order_refusals(state: str) -> list[Refusal]:
    """An order that cannot be paid."""
    return [
        Refusal("CreatePayment", "ORDER_NOT_PAYABLE", ORDER, state, "be paid"),
        Refusal("CancelOrder", "ORDER_NOT_CANCELLABLE", ORDER, state, "be cancelled"),
    ]


def refund_refusals(state: str, reason: str = "ORDER_NOT_REFUNDABLE") -> list[Refusal]:
    """An order that cannot be refunded, neither in full nor in part."""
    return [
        Refusal("CreateRefund", reason, ORDER, state, "be refunded"),
        Refusal("CreateRefund, in part", reason, ORDER, state, "be refunded"),
    ]


# An operator's changes of an access code: reason and step of their refusals.
CHANGES = {
    "Revoke": ("ACCESS_CODE_NOT_REVOCABLE", "be revoked"),
    "Suspend": ("ACCESS_CODE_NOT_SUSPENDABLE", "be suspended"),
    "Reinstate": ("ACCESS_CODE_NOT_REINSTATABLE", "be reinstated"),
    "Reissue": ("ACCESS_CODE_NOT_REISSUABLE", "be reissued"),
}


def change_refusal(verb: str, state: str) -> Refusal:
    """An access code that an operator cannot change in this way."""
    reason, step = CHANGES[verb]
    return Refusal(f"{verb}AccessCode", reason, CODE, state, step)


def ended_code_refusals(state: str) -> list[Refusal]:
    """An access code in a final state."""
    return [*(change_refusal(verb, state) for verb in CHANGES), start_refusal(state)]


def start_refusal(state: str) -> Refusal:
    """An access code that starts no session."""
    return Refusal(
        "StartSession", f"ACCESS_CODE_{state}", CODE, state, "be used to start an interview"
    )


def interview_refusals(state: str) -> list[Refusal]:
    """A session that is not in progress."""
    reason = "SESSION_NOT_IN_PROGRESS"
    return [
        Refusal("GetNextQuestion", reason, SESSION, state, "be asked for a question"),
        Refusal("SubmitAnswer", reason, SESSION, state, "be answered"),
        Refusal("CompleteSession", reason, SESSION, state, "be completed"),
        Refusal("CancelSession", reason, SESSION, state, "be cancelled"),
    ]


def feedback_refusal(state: str) -> Refusal:
    """A session that gets no feedback."""
    return Refusal("CreateFeedback", "SESSION_NOT_COMPLETED", SESSION, state, "be evaluated")


def ended_session_refusals(state: str, code_state: str = "REDEEMED") -> list[Refusal]:
    """A session in a final state, and the state that its access code is said to have."""
    return [start_refusal(code_state), *interview_refusals(state), feedback_refusal(state)]


def dismissal_refusal(state: str) -> Refusal:
    """A mail that has not failed."""
    return Refusal("DismissNotification", "NOTIFICATION_NOT_FAILED", MAIL, state, "be dismissed")


def waiting_mail_refusals(state: str) -> list[Refusal]:
    """A mail that is not sent again yet."""
    resend = Refusal("ResendNotification", "NOTIFICATION_NOT_ENDED", MAIL, state, "be sent again")
    return [resend, dismissal_refusal(state)]


def closed_dead_letter_refusals(state: str) -> list[Refusal]:
    """A dead letter that was replayed or discarded."""
    return [
        Refusal("ReplayDeadLetter", "DEAD_LETTER_CLOSED", DEAD_LETTER, state, "be replayed"),
        Refusal("DiscardDeadLetter", "DEAD_LETTER_CLOSED", DEAD_LETTER, state, "be discarded"),
    ]


def payment_notification_refusal(state: str) -> Refusal:
    """A notification of the provider that is not quarantined."""
    reason = "PAYMENT_NOTIFICATION_NOT_QUARANTINED"
    kind = PAYMENT_NOTIFICATION
    return Refusal("DismissPaymentNotification", reason, kind, state, "be dismissed")


# States that are reached while all processes run.
STABLE_STATES: Mapping[str, list[Refusal]] = {
    "order PENDING_PAYMENT": refund_refusals("PENDING_PAYMENT"),
    "order PAID": closed_order_refusals("PAID"),
    "order PARTIALLY_REFUNDED": closed_order_refusals("PARTIALLY_REFUNDED"),
    "order REFUNDED": closed_order_refusals("REFUNDED") + refund_refusals("REFUNDED"),
    "order EXPIRED": closed_order_refusals("EXPIRED") + refund_refusals("EXPIRED"),
    "order CANCELLED": closed_order_refusals("CANCELLED") + refund_refusals("CANCELLED"),
    "code ACTIVE": [change_refusal("Reinstate", "ACTIVE")],
    "code SUSPENDED by an operator": [
        change_refusal("Suspend", "SUSPENDED"),
        change_refusal("Reissue", "SUSPENDED"),
        start_refusal("SUSPENDED"),
    ],
    "code REDEEMED": [
        *ended_code_refusals("REDEEMED"),
        Refusal("CreateRefund", "ACCESS_CODE_REDEEMED", CODE, "REDEEMED", "be refunded in full"),
        Refusal(
            "CreateRefund, of the price", "ACCESS_CODE_REDEEMED", CODE, "REDEEMED", "be refunded"
        ),
    ],
    "code EXPIRED": ended_code_refusals("EXPIRED"),
    "code REVOKED": ended_code_refusals("REVOKED"),
    "code REVOKED by a reissue": ended_code_refusals("REVOKED"),
    "session PREPARED": [*interview_refusals("PREPARED"), feedback_refusal("PREPARED")],
    "session IN_PROGRESS": [
        start_refusal("REDEEMED"),
        Refusal("SubmitAnswer", "QUESTION_NOT_OPEN", SESSION, "IN_PROGRESS", "be answered"),
        Refusal("SubmitAnswer, again", "QUESTION_NOT_OPEN", SESSION, "ANSWERED", "be answered"),
        Refusal("SubmitAnswer, too late", "ANSWER_TOO_LATE", SESSION, "MISSED", "be answered"),
        feedback_refusal("IN_PROGRESS"),
    ],
    "session COMPLETED": [start_refusal("REDEEMED"), *interview_refusals("COMPLETED")],
    "session EVALUATED": ended_session_refusals("EVALUATED"),
    "session EXPIRED": ended_session_refusals("EXPIRED"),
    "session EXPIRED before its start": ended_session_refusals("EXPIRED", "EXPIRED"),
    "session CANCELLED": ended_session_refusals("CANCELLED"),
    "session CANCELLED before its start": ended_session_refusals("CANCELLED", "REVOKED"),
    "mail QUEUED": waiting_mail_refusals("QUEUED"),
    "mail SENDING": waiting_mail_refusals("SENDING"),
    "mail DEFERRED": waiting_mail_refusals("DEFERRED"),
    "mail SENT": [dismissal_refusal("SENT")],
    "mail SUPPRESSED": [dismissal_refusal("SUPPRESSED")],
    "payment_notification PROCESSED": [payment_notification_refusal("PROCESSED")],
    "dead_letter HANDLED": closed_dead_letter_refusals("HANDLED"),
    "dead_letter DISCARDED": closed_dead_letter_refusals("DISCARDED"),
}
# States that last as long as a process is stopped or suspended.
TRANSIENT_STATES: Mapping[str, list[Refusal]] = {
    "payment PROCESSING": [
        Refusal("CreatePayment", "PAYMENT_IN_PROGRESS", PAYMENT, "PROCESSING", "be paid again")
    ],
    "payment UNKNOWN": [
        Refusal("CreatePayment", "PAYMENT_IN_PROGRESS", PAYMENT, "UNKNOWN", "be paid again")
    ],
    "payment_notification RECEIVED": [payment_notification_refusal("RECEIVED")],
    "order REFUND_PENDING": [
        *closed_order_refusals("REFUND_PENDING"),
        *refund_refusals("REFUND_PENDING", "REFUND_IN_PROGRESS"),
    ],
    "code SUSPENDED for a refund": [
        change_refusal("Reinstate", "SUSPENDED"),
        change_refusal("Reissue", "SUSPENDED"),
    ],
    "session IN_PROGRESS during a broker outage": [start_refusal("REDEEMED")],
}

# The calls that are steps of each state machine, and the states in which it has them. For all other
# states there must be a refusal above. Payments and refunds have no steps that are calls.
ALLOWED_STATES: Mapping[str, Mapping[str, str]] = {
    "order": {
        "CreatePayment": "PENDING_PAYMENT",
        "CancelOrder": "PENDING_PAYMENT",
        "CreateRefund": "PAID PARTIALLY_REFUNDED",
    },
    "code": {
        "RevokeAccessCode": "ACTIVE SUSPENDED",
        "SuspendAccessCode": "ACTIVE",  # SUSPENDED for a refund, too
        "ReinstateAccessCode": "",  # SUSPENDED by an operator
        "ReissueAccessCode": "ACTIVE",
        "StartSession": "ACTIVE",
    },
    "session": {
        "StartSession": "PREPARED",
        "GetNextQuestion": "IN_PROGRESS",
        "SubmitAnswer": "",  # IN_PROGRESS, the open question
        "CompleteSession": "IN_PROGRESS",
        "CancelSession": "IN_PROGRESS",
        "CreateFeedback": "COMPLETED",
    },
    "mail": {
        "ResendNotification": "SENT FAILED SUPPRESSED",
        "DismissNotification": "FAILED",
    },
    "payment_notification": {"DismissPaymentNotification": "QUARANTINED"},
    "dead_letter": {"ReplayDeadLetter": "", "DiscardDeadLetter": ""},
}
STATUSES: Mapping[str, Any] = {
    "order": payment_service_pb2.OrderStatus,
    "code": access_code_pb2.AccessCodeStatus,
    "session": session_pb2.SessionStatus,
    "mail": notification_service_pb2.NotificationStatus,
    "payment_notification": payment_service_pb2.PaymentNotificationStatus,
}
METHODS: Mapping[str, Any] = {
    method.name: method
    for file in (
        payment_service_pb2,
        access_code_service_pb2,
        interview_service_pb2,
        notification_service_pb2,
        ops_service_pb2,
    )
    for service in file.DESCRIPTOR.services_by_name.values()
    for method in service.methods
}
# Mutations that are no step of an existing object.
NO_STEPS = {
    "CreateOrder",
    "CreateSuppression",
    "DeleteSuppression",
    "UpdateMailPreferences",
    "RepublishEvents",
    "RetryParkedEvents",
}


# The calls, each with a new request id


async def pay(given: Given) -> None:
    await given.stack.journey().pay(given.order_id)


async def cancel(given: Given) -> None:
    await cancel_order(given.stack.clients, given.order_id)


def refund(amount_minor: int | None) -> Callable[[Given], Awaitable[object]]:
    return lambda given: create_refund(given.stack, given.order_id, amount_minor)


def change(verb: str) -> Callable[[Given], Awaitable[object]]:
    return lambda given: change_access_code(given.stack.clients, verb, given.access_code.id)


async def start(given: Given) -> None:
    await given.stack.journey().start(given.access_code.code)


def interview_call(
    step: Callable[[Interview], Awaitable[object]],
) -> Callable[[Given], Awaitable[object]]:
    async def call(given: Given) -> None:
        assert given.interview
        await step(given.interview)

    return call


async def answer_again(given: Given) -> None:
    assert given.interview
    await given.interview.answer(given.answered_question_id)


async def answer_too_late(given: Given) -> None:
    assert given.interview
    await given.interview.answer(given.missed_question_id)


async def resend(given: Given) -> None:
    request = notification_service_pb2.ResendNotificationRequest(
        request_id=secrets.token_hex(8), notification_id=given.notification_id
    )
    await given.stack.clients.notifications.ResendNotification(request)


async def dismiss(given: Given) -> None:
    request = notification_service_pb2.DismissNotificationRequest(
        request_id=secrets.token_hex(8), notification_id=given.notification_id
    )
    await given.stack.clients.notifications.DismissNotification(request)


async def dismiss_payment_notification(given: Given) -> None:
    request = payment_service_pb2.DismissPaymentNotificationRequest(
        request_id=secrets.token_hex(8),
        payment_notification_id=given.payment_notification_id,
        reason="settled",
    )
    await given.stack.clients.payments.DismissPaymentNotification(request)


CALLS: Mapping[str, Callable[[Given], Awaitable[object]]] = {
    "CreatePayment": pay,
    "CancelOrder": cancel,
    "CreateRefund": refund(None),
    "CreateRefund, in part": refund(1),
    "CreateRefund, of the price": refund(PRICE),
    "RevokeAccessCode": change("Revoke"),
    "SuspendAccessCode": change("Suspend"),
    "ReinstateAccessCode": change("Reinstate"),
    "ReissueAccessCode": change("Reissue"),
    "StartSession": start,
    "GetNextQuestion": interview_call(lambda interview: interview.next_question()),
    "SubmitAnswer": interview_call(lambda interview: interview.answer("unknown")),
    "SubmitAnswer, again": answer_again,
    "SubmitAnswer, too late": answer_too_late,
    "CompleteSession": interview_call(lambda interview: interview.complete()),
    "CancelSession": interview_call(lambda interview: interview.cancel()),
    "CreateFeedback": interview_call(lambda interview: interview.create_feedback()),
    "ResendNotification": resend,
    "DismissNotification": dismiss,
    "DismissPaymentNotification": dismiss_payment_notification,
    "ReplayDeadLetter": lambda given: replay_dead_letter(given.stack, given.dead_letter),
    "DiscardDeadLetter": lambda given: discard_dead_letter(given.stack, given.dead_letter),
}


def subject_of(refusal: Refusal, given: Given) -> str:
    """The violation's subject: the object's id, or for a start, which shows none, the field."""
    if refusal.call == "StartSession":
        return "access_code"
    return {
        ORDER: given.order_id,
        PAYMENT: given.payment_id,
        CODE: given.access_code.id,
        SESSION: given.interview.session_id if given.interview else "",
        MAIL: given.notification_id,
        PAYMENT_NOTIFICATION: given.payment_notification_id,
        DEAD_LETTER: given.dead_letter.dead_letter_id,
    }[refusal.kind]


async def expect_refusal(refusal: Refusal, given: Given) -> None:
    """Makes the call, which must end with the refusal's error."""
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await CALLS[refusal.call](given)
    error = raised.value
    assert error.code() is grpc.StatusCode.FAILED_PRECONDITION
    (info,) = error_details(error, error_details_pb2.ErrorInfo)
    assert (info.reason, info.domain) == (refusal.reason, domain_of(refusal.call))
    violation = precondition_violation(error)
    assert (violation.type, violation.subject) == (refusal.kind, subject_of(refusal, given))
    assert re.search(
        rf" cannot {refusal.step}( in full)?: (it|its payment \S+) is .*\b{refusal.state}\b",
        violation.description,
    )
    assert error.details() == violation.description
    if refusal.call == "StartSession":
        status = rpc_status.from_call(error)
        assert not re.search("(ord|acc|ses|ref)_", str(status)), "shows an id to the code's holder"


def domain_of(call: str) -> str:
    """The package of a call's service."""
    return str(METHODS[call.partition(",")[0]].containing_service.file.package)


async def expect_refusals(
    state: str, refusals: Mapping[str, list[Refusal]], stack: RunningStack
) -> None:
    """Makes all calls that a state refuses, on one object, which must not change."""
    given = await GIVEN_STATES[state](stack)
    before = await given.read()
    for refusal in refusals[state]:
        await expect_refusal(refusal, given)
    assert await given.read() == before


@pytest.mark.parametrize("state", STABLE_STATES)
async def test_a_step_that_the_state_machine_does_not_have_is_refused(
    shared_stack: RunningStack, state: str
) -> None:
    """The error names the object, its state and the step; the object does not change."""
    await expect_refusals(state, STABLE_STATES, shared_stack)


@pytest.mark.parametrize("state", TRANSIENT_STATES)
async def test_a_step_is_refused_while_another_service_has_to_answer(
    disruptable_stack: RunningStack, state: str
) -> None:
    """The same in states that end with the answer of the provider, interview or the broker."""
    await expect_refusals(state, TRANSIENT_STATES, disruptable_stack)


def test_every_state_and_every_step_is_covered() -> None:
    """Each state refuses each step that its machine does not have in it."""
    refused = {
        (*state.split()[:2], refusal.call.partition(",")[0])
        for state, refusals in {**STABLE_STATES, **TRANSIENT_STATES}.items()
        for refusal in refusals
    }
    states = {
        # The first is UNSPECIFIED, and each name begins with that of its enum.
        machine: {
            name.removeprefix(enum.keys()[0][: -len("UNSPECIFIED")]) for name in enum.keys()[1:]
        }
        for machine, enum in STATUSES.items()
    } | {"dead_letter": {"HANDLED", "DISCARDED"}}
    missing = {
        (machine, state, call)
        for machine, calls in ALLOWED_STATES.items()
        for call, allowed in calls.items()
        for state in states[machine] - set(allowed.split())
    }
    assert missing <= refused
    mutations = {
        name for name, method in METHODS.items() if "request_id" in method.input_type.fields_by_name
    }
    steps = {call for calls in ALLOWED_STATES.values() for call in calls}
    assert mutations - NO_STEPS == steps
