"""Every step that a state machine's diagram lacks is refused, with what stands in its way.

FAILED_PRECONDITION, a reason, and one violation that names the thing, its state and the step. What
was refused has changed nothing.
"""

import re
import secrets
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, NamedTuple

import grpc
import pytest
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status

from interview.v1 import interview_service_pb2, session_pb2
from notification.v1 import notification_service_pb2
from ops.v1 import ops_service_pb2
from payment.v1 import access_code_pb2, access_code_service_pb2, payment_service_pb2
from tests.system.drivers.access_codes import change
from tests.system.drivers.given_states import REACHED, Thing, discard, replay
from tests.system.drivers.interviews import Interview
from tests.system.drivers.payments import cancelling
from tests.system.drivers.refunds import Desk
from tests.system.drivers.running_stack import RunningStack

PRICE = 19900


class Row(NamedTuple):
    """One refusal: a call and its variant, and what is told."""

    call: str
    reason: str
    kind: str
    state: str
    step: str


ORDER, PAYMENT, CODE = "ORDER_STATUS", "PAYMENT_STATUS", "ACCESS_CODE_STATUS"
SESSION, MAIL, LETTER = "SESSION_STATUS", "NOTIFICATION_STATUS", "DEAD_LETTER"


def unpaid(state: str) -> list[Row]:
    """An order that nobody will pay any more."""
    return [
        Row("CreatePayment", "ORDER_NOT_PAYABLE", ORDER, state, "be paid"),
        Row("CancelOrder", "ORDER_NOT_CANCELLABLE", ORDER, state, "be cancelled"),
    ]


def unrefundable(state: str, reason: str = "ORDER_NOT_REFUNDABLE") -> list[Row]:
    """An order of which nothing can be refunded."""
    return [
        Row("CreateRefund", reason, ORDER, state, "be refunded"),
        Row("CreateRefund, in part", reason, ORDER, state, "be refunded"),
    ]


def dead(state: str) -> list[Row]:
    """A code that gives no right any more."""
    return [
        Row("RevokeAccessCode", "ACCESS_CODE_NOT_REVOCABLE", CODE, state, "be revoked"),
        Row("SuspendAccessCode", "ACCESS_CODE_NOT_SUSPENDABLE", CODE, state, "be suspended"),
        Row("ReinstateAccessCode", "ACCESS_CODE_NOT_REINSTATABLE", CODE, state, "be reinstated"),
        Row("ReissueAccessCode", "ACCESS_CODE_NOT_REISSUABLE", CODE, state, "be reissued"),
        unstarted(state),
    ]


def unstarted(state: str) -> Row:
    """A code that starts no interview."""
    return Row("StartSession", f"ACCESS_CODE_{state}", CODE, state, "start an interview")


def idle(state: str) -> list[Row]:
    """A session that isn't under way."""
    reason = "SESSION_NOT_IN_PROGRESS"
    return [
        Row("GetNextQuestion", reason, SESSION, state, "be asked for a question"),
        Row("SubmitAnswer", reason, SESSION, state, "be answered"),
        Row("CompleteSession", reason, SESSION, state, "be completed"),
        Row("CancelSession", reason, SESSION, state, "be cancelled"),
    ]


def unevaluated(state: str) -> Row:
    """A session on which no feedback is given."""
    return Row("CreateFeedback", "SESSION_NOT_COMPLETED", SESSION, state, "be evaluated")


def unsent(state: str) -> Row:
    """A mail that isn't sent again yet."""
    return Row("ResendNotification", "NOTIFICATION_NOT_ENDED", MAIL, state, "be sent again")


def closed(state: str) -> list[Row]:
    """A dead letter that was decided upon."""
    return [
        Row("ReplayDeadLetter", "DEAD_LETTER_CLOSED", LETTER, state, "be replayed"),
        Row("DiscardDeadLetter", "DEAD_LETTER_CLOSED", LETTER, state, "be discarded"),
    ]


# What is reached in a stack that nobody disturbs.
CALM: Mapping[str, list[Row]] = {
    "order PENDING_PAYMENT": unrefundable("PENDING_PAYMENT"),
    "order PAID": unpaid("PAID"),
    "order PARTIALLY_REFUNDED": unpaid("PARTIALLY_REFUNDED"),
    "order REFUNDED": unpaid("REFUNDED") + unrefundable("REFUNDED"),
    "order EXPIRED": unpaid("EXPIRED") + unrefundable("EXPIRED"),
    "order CANCELLED": unpaid("CANCELLED") + unrefundable("CANCELLED"),
    "code ACTIVE": [
        Row("ReinstateAccessCode", "ACCESS_CODE_NOT_REINSTATABLE", CODE, "ACTIVE", "be reinstated")
    ],
    "code SUSPENDED by an operator": [
        Row("SuspendAccessCode", "ACCESS_CODE_NOT_SUSPENDABLE", CODE, "SUSPENDED", "be suspended"),
        Row("ReissueAccessCode", "ACCESS_CODE_NOT_REISSUABLE", CODE, "SUSPENDED", "be reissued"),
        unstarted("SUSPENDED"),
    ],
    "code REDEEMED": [
        *dead("REDEEMED"),
        Row("CreateRefund", "ACCESS_CODE_REDEEMED", CODE, "REDEEMED", "be refunded in full"),
        Row("CreateRefund, of all", "ACCESS_CODE_REDEEMED", CODE, "REDEEMED", "be refunded"),
    ],
    "code EXPIRED": dead("EXPIRED"),
    "code REVOKED": dead("REVOKED"),
    "code REVOKED by a reissue": dead("REVOKED"),
    "session PREPARED": [*idle("PREPARED"), unevaluated("PREPARED")],
    "session IN_PROGRESS": [
        unstarted("REDEEMED"),
        Row("SubmitAnswer", "QUESTION_NOT_OPEN", SESSION, "IN_PROGRESS", "be answered"),
        Row("SubmitAnswer, again", "QUESTION_NOT_OPEN", SESSION, "ANSWERED", "be answered"),
        Row("SubmitAnswer, too late", "ANSWER_TOO_LATE", SESSION, "MISSED", "be answered"),
        unevaluated("IN_PROGRESS"),
    ],
    "session COMPLETED": [unstarted("REDEEMED"), *idle("COMPLETED")],
    "session EVALUATED": [unstarted("REDEEMED"), *idle("EVALUATED"), unevaluated("EVALUATED")],
    "session EXPIRED": [unstarted("REDEEMED"), *idle("EXPIRED"), unevaluated("EXPIRED")],
    "session EXPIRED before its start": [
        unstarted("EXPIRED"),
        *idle("EXPIRED"),
        unevaluated("EXPIRED"),
    ],
    "session CANCELLED": [unstarted("REDEEMED"), *idle("CANCELLED"), unevaluated("CANCELLED")],
    "session CANCELLED before its start": [
        unstarted("REVOKED"),
        *idle("CANCELLED"),
        unevaluated("CANCELLED"),
    ],
    "mail QUEUED": [unsent("QUEUED")],
    "mail SENDING": [unsent("SENDING")],
    "mail DEFERRED": [unsent("DEFERRED")],
    "letter HANDLED": closed("HANDLED"),
    "letter DISCARDED": closed("DISCARDED"),
}
# What lasts only while a part of the stack is away.
ROUGH: Mapping[str, list[Row]] = {
    "payment PROCESSING": [
        Row("CreatePayment", "PAYMENT_IN_PROGRESS", PAYMENT, "PROCESSING", "be paid by another")
    ],
    "payment UNKNOWN": [
        Row("CreatePayment", "PAYMENT_IN_PROGRESS", PAYMENT, "UNKNOWN", "be paid by another")
    ],
    "order REFUND_PENDING": [
        *unpaid("REFUND_PENDING"),
        *unrefundable("REFUND_PENDING", "REFUND_IN_PROGRESS"),
    ],
    "code SUSPENDED for a refund": [
        Row(
            "ReinstateAccessCode",
            "ACCESS_CODE_NOT_REINSTATABLE",
            CODE,
            "SUSPENDED",
            "be reinstated",
        ),
        Row("ReissueAccessCode", "ACCESS_CODE_NOT_REISSUABLE", CODE, "SUSPENDED", "be reissued"),
    ],
    "session IN_PROGRESS unheard of by payment": [unstarted("REDEEMED")],
}

# The steps that calls are, by machine, and the states in which the diagram has them. With a row for
# each that it lacks, nothing is left out. Payments and refunds take no step by a call of their own.
TAKEN: Mapping[str, Mapping[str, str]] = {
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
    "mail": {"ResendNotification": "SENT FAILED SUPPRESSED"},
    "letter": {"ReplayDeadLetter": "", "DiscardDeadLetter": ""},
}
STATUSES: Mapping[str, Any] = {
    "order": payment_service_pb2.OrderStatus,
    "code": access_code_pb2.AccessCodeStatus,
    "session": session_pb2.SessionStatus,
    "mail": notification_service_pb2.NotificationStatus,
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
# These change something, but take no step of a thing that is there.
NO_STEPS = {
    "CreateOrder",
    "CreateSuppression",
    "DeleteSuppression",
    "UpdateMailPreferences",
    "RepublishEvents",
    "RetryParkedEvents",
}


# The calls, each with a new request id


async def pay(thing: Thing) -> None:
    await thing.outside.journey().pay(thing.order_id)


async def cancel(thing: Thing) -> None:
    request = cancelling(thing.order_id, secrets.token_hex(8))
    await thing.outside.clients.payments.CancelOrder(request)


def refund(minor: int | None) -> Callable[[Thing], Awaitable[object]]:
    return lambda thing: Desk(thing.outside).refund(thing.order_id, minor)


def changing(verb: str) -> Callable[[Thing], Awaitable[object]]:
    return lambda thing: change(thing.outside.clients, verb, thing.code.id)


async def start(thing: Thing) -> None:
    await thing.outside.journey().start(thing.code.code)


def interviewing(
    step: Callable[[Interview, Thing], Awaitable[object]],
) -> Callable[[Thing], Awaitable[object]]:
    async def call(thing: Thing) -> None:
        assert thing.interview
        await step(thing.interview, thing)

    return call


async def resend(thing: Thing) -> None:
    request = notification_service_pb2.ResendNotificationRequest(
        request_id=secrets.token_hex(8), notification_id=thing.notification_id
    )
    await thing.outside.clients.notifications.ResendNotification(request)


CALLS: Mapping[str, Callable[[Thing], Awaitable[object]]] = {
    "CreatePayment": pay,
    "CancelOrder": cancel,
    "CreateRefund": refund(None),
    "CreateRefund, in part": refund(1),
    "CreateRefund, of all": refund(PRICE),
    "RevokeAccessCode": changing("Revoke"),
    "SuspendAccessCode": changing("Suspend"),
    "ReinstateAccessCode": changing("Reinstate"),
    "ReissueAccessCode": changing("Reissue"),
    "StartSession": start,
    "GetNextQuestion": interviewing(lambda one, _: one.next_question()),
    "SubmitAnswer": interviewing(lambda one, _: one.answer("unheard-of")),
    "SubmitAnswer, again": interviewing(lambda one, thing: one.answer(thing.questions[0])),
    "SubmitAnswer, too late": interviewing(lambda one, thing: one.answer(thing.questions[1])),
    "CompleteSession": interviewing(lambda one, _: one.complete()),
    "CancelSession": interviewing(lambda one, _: one.cancel()),
    "CreateFeedback": interviewing(lambda one, _: one.evaluate()),
    "ResendNotification": resend,
    "ReplayDeadLetter": replay,
    "DiscardDeadLetter": discard,
}


def unpacked(status: status_pb2.Status, kind: type[Message]) -> list[Any]:
    """The details of a kind."""
    found = [(kind(), detail) for detail in status.details]
    return [message for message, detail in found if detail.Unpack(message)]


def subject_of(row: Row, thing: Thing) -> str:
    """Whose state is in the way. A code's holder needn't know whose it is: only its field."""
    if row.call == "StartSession":
        return "access_code"
    return {
        ORDER: thing.order_id,
        PAYMENT: thing.payment_id,
        CODE: thing.code.id,
        SESSION: thing.interview.session_id if thing.interview else "",
        MAIL: thing.notification_id,
        LETTER: thing.letter.dead_letter_id,
    }[row.kind]


async def check(row: Row, thing: Thing) -> None:
    """The call is refused as the row says."""
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await CALLS[row.call](thing)
    assert refused.value.code() is grpc.StatusCode.FAILED_PRECONDITION
    status = rpc_status.from_call(refused.value)
    assert status is not None
    (info,) = unpacked(status, error_details_pb2.ErrorInfo)
    assert (info.reason, info.domain) == (row.reason, domain_of(row.call))
    (failure,) = unpacked(status, error_details_pb2.PreconditionFailure)
    (violation,) = failure.violations
    assert (violation.type, violation.subject) == (row.kind, subject_of(row, thing))
    assert re.search(rf" is .*\b{row.state}\b.* can't {row.step}\b", violation.description)
    assert status.message == violation.description
    if row.call == "StartSession":
        assert not re.search("(ord|acc|ses|ref)_", str(status)), "told whoever holds a code"


def domain_of(call: str) -> str:
    """The package of a call's service."""
    return str(METHODS[call.partition(",")[0]].containing_service.file.package)


async def all_refused(reached: str, table: Mapping[str, list[Row]], outside: RunningStack) -> None:
    """All of a state's refusals, on one thing, which stays as it was."""
    thing = await REACHED[reached](outside)
    before = await thing.look()
    for row in table[reached]:
        await check(row, thing)
    assert await thing.look() == before


@pytest.mark.parametrize("reached", CALM)
async def test_a_step_that_the_diagram_lacks_is_refused(
    shared_stack: RunningStack, reached: str
) -> None:
    """By the name of the thing, its state and the step; it stays as it was."""
    await all_refused(reached, CALM, shared_stack)


@pytest.mark.parametrize("reached", ROUGH)
async def test_a_step_is_refused_while_an_answer_is_waited_for(
    disruptable_stack: RunningStack, reached: str
) -> None:
    """Also in what is passing: the provider's, interview's or the broker's word is to come."""
    await all_refused(reached, ROUGH, disruptable_stack)


def test_no_state_and_no_step_is_left_out() -> None:
    """What the contract has, the table refuses, unless the diagram has it."""
    refused = {
        (*reached.split()[:2], row.call.partition(",")[0])
        for reached, listed in {**CALM, **ROUGH}.items()
        for row in listed
    }
    states = {
        # The first is UNSPECIFIED, and each name begins with that of its enum.
        machine: {
            name.removeprefix(enum.keys()[0][: -len("UNSPECIFIED")]) for name in enum.keys()[1:]
        }
        for machine, enum in STATUSES.items()
    } | {"letter": {"HANDLED", "DISCARDED"}}
    lacking = {
        (machine, state, call)
        for machine, calls in TAKEN.items()
        for call, taken in calls.items()
        for state in states[machine] - set(taken.split())
    }
    assert lacking <= refused
    mutations = {
        name for name, method in METHODS.items() if "request_id" in method.input_type.fields_by_name
    }
    assert mutations - NO_STEPS == {call for calls in TAKEN.values() for call in calls}
