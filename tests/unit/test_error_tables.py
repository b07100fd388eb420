"""What a caller is told when a state machine refuses a step: whose state it is, and which step."""

import pkgutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from importlib import import_module
from inspect import getmembers, isclass
from types import ModuleType

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2

import interview_svc.domain
import notification_svc.domain
import payment_svc.domain
from eventbus.dead_letters import store
from interview_svc.domain import cached_code, qa_records, session_states
from interview_svc.grpc_server.errors import ERRORS as INTERVIEW
from notification_svc.domain import notifications as mails
from notification_svc.grpc_server.errors import ERRORS as NOTIFICATION
from payment_svc.domain import access_code_errors as codes
from payment_svc.domain import (
    order_errors,
    payment_errors,
    products,
    provider_notifications,
    refund_errors,
)
from payment_svc.domain.access_code_status import AccessCodeStatus, Hold
from payment_svc.domain.errors import IllegalTransition as IllegalPaymentTransition
from payment_svc.domain.money import Money
from payment_svc.domain.orders import OrderStatus
from payment_svc.domain.payments import PaymentStatus
from payment_svc.grpc_server.errors import ERRORS as PAYMENT
from runtime.ops.errors import ERRORS as OPS
from runtime.rpc.errors import ErrorMapper, ErrorTable

NOW = datetime.fromisoformat("2026-01-02T12:00:00+00:00")
TABLES: Mapping[str, ErrorTable] = {
    "payment.v1": PAYMENT,
    "interview.v1": INTERVIEW,
    "notification.v1": NOTIFICATION,
    "ops.v1": OPS,
}
PRICE = Money(19900, "CNY")


@dataclass(frozen=True)
class Refusal:
    """An error, and what must be told of it; no state if none is in the way."""

    error: Exception
    kind: str
    subject: str
    state: str
    step: str

    def __str__(self) -> str:
        return f"{type(self.error).__name__} {self.state}"


S = session_states.SessionStatus
ORDER, CODE, SESSION = "ORDER_STATUS", "ACCESS_CODE_STATUS", "SESSION_STATUS"
ANSWERED = qa_records.QARecordStatus.ANSWERED
REFUSALS: Mapping[str, list[Refusal]] = {
    "payment.v1": [
        *(
            Refusal(error("ord_1", OrderStatus(state)), ORDER, "ord_1", state, step)
            for error, state, step in (
                (order_errors.OrderNotPayable, "PAID", "cannot be paid"),
                (order_errors.OrderNotCancellable, "EXPIRED", "cannot be cancelled"),
                (order_errors.OrderNotRefundable, "CANCELLED", "cannot be refunded"),
            )
        ),
        Refusal(
            order_errors.RefundInProgress("ord_1", OrderStatus.REFUND_PENDING),
            ORDER,
            "ord_1",
            "REFUND_PENDING",
            "cannot be refunded",
        ),
        Refusal(
            payment_errors.PaymentInProgress("ord_1", "pay_1", PaymentStatus.UNKNOWN, "paid again"),
            "PAYMENT_STATUS",
            "pay_1",
            "UNKNOWN",
            "order ord_1 cannot be paid again",
        ),
        *(
            Refusal(error("acc_1", AccessCodeStatus(state), holds), CODE, "acc_1", state, step)
            for error, state, holds, step in (
                (codes.AccessCodeNotRevocable, "REDEEMED", (), "cannot be revoked"),
                (
                    codes.AccessCodeNotSuspendable,
                    "SUSPENDED",
                    (Hold.OPERATOR,),
                    "cannot be suspended",
                ),
                (codes.AccessCodeNotReinstatable, "ACTIVE", (), "cannot be reinstated"),
                (codes.AccessCodeNotReissuable, "REVOKED", (), "cannot be reissued"),
                (codes.AccessCodeUsed, "REDEEMED", (), "cannot be refunded in full"),
            )
        ),
        # These depend on what was asked for, not on a state.
        Refusal(
            products.PriceMismatch("backend-60", PRICE, PRICE), "PRICE", "backend-60", "", "costs"
        ),
        Refusal(order_errors.AmountMismatch("ord_1", PRICE, PRICE), "AMOUNT", "ord_1", "", "costs"),
        Refusal(
            order_errors.AmountNotRefundable("ord_1", PRICE, PRICE), "AMOUNT", "ord_1", "", "left"
        ),
    ],
    "interview.v1": [
        *(
            Refusal(error(), CODE, "access_code", state, "start an interview")
            for error, state in (
                (cached_code.CodeRevoked, "REVOKED"),
                (cached_code.CodeSuspended, "SUSPENDED"),
                (cached_code.CodeRedeemed, "REDEEMED"),
                (cached_code.CodeExpired, "EXPIRED"),
            )
        ),
        # Told as the code's own are: whoever holds a code needn't learn whose session it is.
        *(
            Refusal(error, CODE, "access_code", state, "start an interview")
            for error, state in (
                (session_states.SessionNotStartable("ses_1", S.IN_PROGRESS), "REDEEMED"),
                (session_states.SessionLapsed("ses_1", S.EXPIRED), "EXPIRED"),
                (session_states.SessionCalledOff("ses_1", S.CANCELLED), "REVOKED"),
            )
        ),
        *(
            Refusal(
                session_states.SessionNotInProgress("ses_1", S.CANCELLED, step),
                SESSION,
                "ses_1",
                "CANCELLED",
                f"be {step}",
            )
            for step in ("asked for a question", "answered", "completed", "cancelled")
        ),
        Refusal(
            session_states.SessionNotCompleted("ses_1", S.EVALUATED),
            SESSION,
            "ses_1",
            "EVALUATED",
            "be evaluated",
        ),
        Refusal(
            qa_records.QuestionNotOpen("ses_1", S.IN_PROGRESS, "q1", ANSWERED),
            SESSION,
            "ses_1",
            "ANSWERED",
            "be answered",
        ),
        Refusal(
            qa_records.QuestionNotOpen("ses_1", S.IN_PROGRESS, "q1", None),
            SESSION,
            "ses_1",
            "IN_PROGRESS",
            "be answered",
        ),
        Refusal(
            qa_records.AnswerTooLate("ses_1", S.IN_PROGRESS, "q1", NOW),
            SESSION,
            "ses_1",
            "MISSED",
            "be answered",
        ),
    ],
    "notification.v1": [
        Refusal(
            mails.NotificationNotEnded("ntf_1", mails.NotificationStatus.DEFERRED),
            "NOTIFICATION_STATUS",
            "ntf_1",
            "DEFERRED",
            "be sent again",
        )
    ],
    "ops.v1": [
        Refusal(
            store.DeadLetterClosed("dlq_1", "HANDLED", "replayed"),
            "DEAD_LETTER",
            "dlq_1",
            "HANDLED",
            "be replayed",
        ),
        Refusal(
            store.ReplayFailed("dlq_1", "replayed", "refused"),
            "DEAD_LETTER",
            "dlq_1",
            "OPEN",
            "be replayed",
        ),
    ],
}

# What no call raises, or what every call that meets it takes care of.
INSIDE = {
    IllegalPaymentTransition,
    codes.IllegalAccessCodeTransition,
    codes.AccessCodeNotRedeemable,
    codes.AccessCodeNotExpirable,
    order_errors.OrderNotExpirable,
    order_errors.NoRefundPending,
    payment_errors.PaymentFinal,
    payment_errors.PaymentNotSubmitted,
    payment_errors.WrongCurrencyCaptured,
    provider_notifications.ProviderNotificationNotFound,
    provider_notifications.ProviderNotificationFinal,
    provider_notifications.ProviderConfirmationNeeded,
    refund_errors.RefundNotWaiting,
    refund_errors.RefundNotReleased,
    refund_errors.RefundFinal,
    cached_code.CodeNotStartable,
    session_states.SessionStepRefused,
    session_states.SessionNotEnded,
    session_states.SessionNotStarted,
    session_states.SessionNotCallable,
    mails.NotificationNotDue,
    mails.ClaimLost,
}


def told(domain: str, error: Exception) -> status_pb2.Status:
    """All that a caller is told."""
    status = ErrorMapper(TABLES[domain]).status(error, domain)
    details = dict(status.trailing_metadata)["grpc-status-details-bin"]
    return status_pb2.Status.FromString(details)


def errors_of(module: ModuleType) -> Iterator[type[Exception]]:
    for _, found in getmembers(module, isclass):
        if issubclass(found, Exception) and found.__module__ == module.__name__:
            yield found


def errors_of_domains() -> Iterator[type[Exception]]:
    for package in (payment_svc.domain, interview_svc.domain, notification_svc.domain):
        for module in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
            yield from errors_of(import_module(module.name))
    yield from errors_of(store)


@pytest.mark.parametrize(
    ("domain", "refusal"),
    [(domain, one) for domain, refusals in REFUSALS.items() for one in refusals],
    ids=str,
)
def test_a_refusal_names_whose_state_is_in_the_way_and_which_step(
    domain: str, refusal: Refusal
) -> None:
    """In one PreconditionFailure with one violation, and in the text for people."""
    status = told(domain, refusal.error)
    assert status.code == grpc.StatusCode.FAILED_PRECONDITION.value[0]
    kinds = [detail.TypeName() for detail in status.details]
    assert kinds.count("google.rpc.PreconditionFailure") == 1
    failure = error_details_pb2.PreconditionFailure()
    assert status.details[kinds.index("google.rpc.PreconditionFailure")].Unpack(failure)
    (violation,) = failure.violations
    assert (violation.type, violation.subject) == (refusal.kind, refusal.subject)
    assert violation.description == status.message
    assert refusal.state in violation.description
    assert refusal.step in violation.description


@pytest.mark.parametrize("domain", TABLES)
def test_every_failed_precondition_has_its_refusal_here(domain: str) -> None:
    """A new one tells no less than those above."""
    table = TABLES[domain]
    unmet = {
        error
        for error, answer in table.items()
        if answer.code is grpc.StatusCode.FAILED_PRECONDITION
    }
    assert unmet == {
        next(base for base in type(one.error).__mro__ if base in table) for one in REFUSALS[domain]
    }


def test_every_error_of_the_domains_is_answered_or_stays_inside() -> None:
    """Nobody gets INTERNAL for a step that a state machine refuses."""
    answered = {error for table in TABLES.values() for error in table}
    unanswered = {error for error in errors_of_domains() if not answered & set(error.__mro__)}
    assert unanswered == INSIDE


@pytest.mark.parametrize(
    ("noticed", "code"),
    [
        (session_states.SessionNotStartable("ses_1", S.COMPLETED), cached_code.CodeRedeemed()),
        (session_states.SessionLapsed("ses_1", S.EXPIRED), cached_code.CodeExpired()),
        (session_states.SessionCalledOff("ses_1", S.CANCELLED), cached_code.CodeRevoked()),
    ],
)
def test_a_worthless_code_is_told_in_the_same_words_whoever_noticed(
    noticed: Exception, code: Exception
) -> None:
    """payment, or interview whose session has changed while payment hadn't heard of it."""
    assert told("interview.v1", noticed) == told("interview.v1", code)


@pytest.mark.parametrize(
    ("domain", "error"),
    [
        (domain, error)
        for domain, table in TABLES.items()
        for error, answer in table.items()
        if answer.code is grpc.StatusCode.INVALID_ARGUMENT
    ],
)
def test_an_argument_that_is_refused_is_named_by_its_field(
    domain: str, error: type[Exception]
) -> None:
    [details] = TABLES[domain][error].details(error("not that"))
    [violation] = details.field_violations
    assert violation.field
    assert violation.description == "not that"
