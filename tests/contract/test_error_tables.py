"""The error tables of all services: every rejected action names the object, state and action."""

import pkgutil
import re
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
from interview_svc.domain import errors as interview_errors
from interview_svc.domain.qa_records import QARecordStatus
from interview_svc.domain.session_state import SessionStatus
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
from shared_model.access_code import MalformedAccessCode
from shared_model.mail_address import MalformedMailAddress

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
    """An error, and what its status must name; `state` is empty if no state prevents the action."""

    error: Exception
    kind: str
    subject: str
    state: str
    action: str

    def __str__(self) -> str:
        return f"{type(self.error).__name__} {self.state}"


ORDER, CODE, SESSION = "ORDER_STATUS", "ACCESS_CODE_STATUS", "SESSION_STATUS"
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
            provider_notifications.ProviderNotificationNotQuarantined(
                "pnt_1", provider_notifications.ProviderNotificationStatus.PROCESSED
            ),
            "PAYMENT_NOTIFICATION_STATUS",
            "pnt_1",
            "PROCESSED",
            "cannot be dismissed",
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
            Refusal(error(), CODE, "access_code", state, "cannot be used to start an interview")
            for error, state in (
                (interview_errors.CodeRevoked, "REVOKED"),
                (interview_errors.CodeSuspended, "SUSPENDED"),
                (interview_errors.CodeRedeemed, "REDEEMED"),
                (interview_errors.CodeExpired, "EXPIRED"),
            )
        ),
        # Reported like the errors of the code: they do not reveal whose session it is.
        *(
            Refusal(error, CODE, "access_code", state, "cannot be used to start an interview")
            for error, state in (
                (
                    interview_errors.SessionNotStartable("ses_1", SessionStatus.IN_PROGRESS),
                    "REDEEMED",
                ),
                (
                    interview_errors.SessionExpiredBeforeStart("ses_1", SessionStatus.EXPIRED),
                    "EXPIRED",
                ),
                (
                    interview_errors.SessionCancelledBeforeStart("ses_1", SessionStatus.CANCELLED),
                    "REVOKED",
                ),
            )
        ),
        *(
            Refusal(
                interview_errors.SessionNotInProgress("ses_1", SessionStatus.CANCELLED, step),
                SESSION,
                "ses_1",
                "CANCELLED",
                f"cannot be {step}",
            )
            for step in ("asked for a question", "answered", "completed", "cancelled")
        ),
        Refusal(
            interview_errors.SessionNotCompleted("ses_1", SessionStatus.EVALUATED),
            SESSION,
            "ses_1",
            "EVALUATED",
            "cannot be evaluated",
        ),
        Refusal(
            interview_errors.QuestionNotOpen("ses_1", "q1", QARecordStatus.ANSWERED),
            SESSION,
            "ses_1",
            "ANSWERED",
            "cannot be answered",
        ),
        Refusal(
            interview_errors.QuestionNotOpen("ses_1", "q1", "not asked yet"),
            SESSION,
            "ses_1",
            "IN_PROGRESS",
            "cannot be answered",
        ),
        Refusal(
            interview_errors.AnswerTooLate("ses_1", "q1", NOW),
            SESSION,
            "ses_1",
            "MISSED",
            "cannot be answered",
        ),
    ],
    "notification.v1": [
        Refusal(
            mails.NotificationNotEnded("ntf_1", mails.NotificationStatus.DEFERRED),
            "NOTIFICATION_STATUS",
            "ntf_1",
            "DEFERRED",
            "cannot be sent again",
        ),
        Refusal(
            mails.NotificationNotFailed("ntf_1", mails.NotificationStatus.SENT),
            "NOTIFICATION_STATUS",
            "ntf_1",
            "SENT",
            "cannot be dismissed",
        ),
    ],
    "ops.v1": [
        Refusal(
            store.DeadLetterClosed("dlq_1", "HANDLED", "replayed"),
            "DEAD_LETTER",
            "dlq_1",
            "HANDLED",
            "cannot be replayed",
        ),
        Refusal(
            store.ReplayFailed("dlq_1", "replayed", "refused"),
            "DEAD_LETTER",
            "dlq_1",
            "OPEN",
            "cannot be replayed",
        ),
    ],
}

# Errors that no call raises, or that every call handles.
INTERNAL = {
    IllegalPaymentTransition,
    codes.IllegalAccessCodeTransition,
    codes.AccessCodeNotRedeemable,
    codes.AccessCodeNotExpirable,
    order_errors.OrderNotExpirable,
    order_errors.NoRefundPending,
    payment_errors.PaymentFinal,
    payment_errors.PaymentNotSubmitted,
    payment_errors.WrongCurrencyCaptured,
    provider_notifications.ProviderNotificationFinal,
    provider_notifications.ProviderConfirmationNeeded,
    refund_errors.RefundNotWaiting,
    refund_errors.RefundNotReleased,
    refund_errors.RefundFinal,
    interview_errors.CodeNotStartable,
    interview_errors.IllegalSessionTransition,
    interview_errors.IllegalTransition,
    interview_errors.QuestionNotAnswerable,
    interview_errors.SessionNotExpirable,
    interview_errors.SessionNotStarted,
    interview_errors.SessionNotCancellable,
    mails.NotificationNotDue,
    mails.ClaimLost,
}


def status_of(domain: str, error: Exception) -> status_pb2.Status:
    """The status that a caller gets."""
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
def test_a_failed_precondition_names_the_object_its_state_and_the_action(
    domain: str, refusal: Refusal
) -> None:
    """In one PreconditionFailure with one violation, and in the message."""
    status = status_of(domain, refusal.error)
    assert status.code == grpc.StatusCode.FAILED_PRECONDITION.value[0]
    kinds = [detail.TypeName() for detail in status.details]
    assert kinds.count("google.rpc.PreconditionFailure") == 1
    failure = error_details_pb2.PreconditionFailure()
    assert status.details[kinds.index("google.rpc.PreconditionFailure")].Unpack(failure)
    (violation,) = failure.violations
    assert (violation.type, violation.subject) == (refusal.kind, refusal.subject)
    assert violation.description == status.message
    assert refusal.state in violation.description
    assert refusal.action in violation.description


@pytest.mark.parametrize("domain", TABLES)
def test_every_failed_precondition_of_a_table_is_tested_here(domain: str) -> None:
    table = TABLES[domain]
    expected = {
        error
        for error, answer in table.items()
        if answer.code is grpc.StatusCode.FAILED_PRECONDITION
    }
    assert expected == {
        next(base for base in type(one.error).__mro__ if base in table) for one in REFUSALS[domain]
    }


def test_every_error_of_a_domain_is_in_a_table_or_internal() -> None:
    """No rejected action ends with the status INTERNAL."""
    reported = {error for table in TABLES.values() for error in table}
    internal = {error for error in errors_of_domains() if not reported & set(error.__mro__)}
    assert internal == INTERNAL


@pytest.mark.parametrize(
    ("session_error", "code_error"),
    [
        (
            interview_errors.SessionNotStartable("ses_1", SessionStatus.COMPLETED),
            interview_errors.CodeRedeemed(),
        ),
        (
            interview_errors.SessionExpiredBeforeStart("ses_1", SessionStatus.EXPIRED),
            interview_errors.CodeExpired(),
        ),
        (
            interview_errors.SessionCancelledBeforeStart("ses_1", SessionStatus.CANCELLED),
            interview_errors.CodeRevoked(),
        ),
    ],
)
def test_a_code_without_a_startable_session_gets_the_status_of_the_code(
    session_error: Exception, code_error: Exception
) -> None:
    """The status does not reveal whether payment or interview rejected the code."""
    assert status_of("interview.v1", session_error) == status_of("interview.v1", code_error)


@pytest.mark.parametrize(
    ("domain", "error"),
    [
        (domain, error)
        for domain, table in TABLES.items()
        for error, answer in table.items()
        if answer.code is grpc.StatusCode.INVALID_ARGUMENT
    ],
)
def test_an_invalid_argument_names_its_field(domain: str, error: type[Exception]) -> None:
    """In every text, in English and Chinese."""
    raised = error(("not that", "不是")) if error is MalformedMailAddress else error("not that")
    status = ErrorMapper(TABLES[domain]).status(raised, domain, "zh-CN")
    full = status_pb2.Status.FromString(dict(status.trailing_metadata)["grpc-status-details-bin"])
    bad, localized = error_details_pb2.BadRequest(), error_details_pb2.LocalizedMessage()
    assert full.details[1].Unpack(bad)
    assert full.details[2].Unpack(localized)
    [violation] = bad.field_violations
    assert violation.field
    assert full.message == f"{violation.field} {violation.description}"
    assert localized.message == f"{violation.field} {violation.localized_message.message}"
    assert re.search("[一-鿿]", localized.message)


@pytest.mark.parametrize("domain", ["payment.v1", "interview.v1"])
@pytest.mark.parametrize(
    ("language", "description"),
    [("en", "16 letters and digits in four groups of four"), ("zh-CN", "16 个字母和数字")],
)
def test_not_found_for_what_cannot_be_a_code_says_what_a_code_looks_like(
    domain: str, language: str, description: str
) -> None:
    status = ErrorMapper(TABLES[domain]).status(MalformedAccessCode(), domain, language)
    assert status.code is grpc.StatusCode.NOT_FOUND
    full = status_pb2.Status.FromString(dict(status.trailing_metadata)["grpc-status-details-bin"])
    localized = error_details_pb2.LocalizedMessage()
    assert full.details[-1].Unpack(localized)
    assert description in localized.message
    assert "16 letters and digits" in full.message
