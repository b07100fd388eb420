"""How errors leave a service: a status with details for programs, and nothing beyond that."""

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from notification_svc.grpc_server.errors import ERRORS as NOTIFICATION_ERRORS
from payment_svc.grpc_server.errors import ERRORS as PAYMENT_ERRORS
from runtime.rpc.errors import (
    ErrorMapper,
    ErrorSpec,
    ErrorTable,
    FieldSpec,
    InvalidRequest,
    precondition,
    retry_after,
)
from runtime.violations import Violation
from shared_model.mail_address import MailAddress, MalformedMailAddress


class NotPayable(Exception):
    """The order can't be paid.

    More that is for programmers.
    """

    subject = "ord_1"


class NotPayableToday(NotPayable):
    """A special case."""


class NotAWord(ValueError):
    """A field has an unwanted value."""

    zh = "必须是一个词"


class NotSold(ValueError):
    """A field has a value that this service does not know."""


class NotFound(LookupError):
    """There is no such thing."""


MAPPER = ErrorMapper(
    {
        NotPayable: ErrorSpec(
            grpc.StatusCode.FAILED_PRECONDITION,
            "NOT_PAYABLE",
            "不能支付",
            precondition("ORDER_STATUS"),
        ),
        NotFound: ErrorSpec(
            grpc.StatusCode.NOT_FOUND, "NOT_FOUND", "不存在", message_en="no such order"
        ),
        NotAWord: FieldSpec("recipient.name", "INVALID_REQUEST"),
        NotSold: FieldSpec("price.currency", "NOT_SOLD", "must be a currency", "必须是币种"),
        ConnectionResetError: ErrorSpec(
            grpc.StatusCode.UNAVAILABLE, "GONE", "已断开", retry_after(1.5)
        ),
    },
)


def reported(error: Exception) -> tuple[grpc.StatusCode, str, status_pb2.Status]:
    """Code, text and details of an error's status."""
    status = MAPPER.status(error, "payment.v1")
    details = dict(status.trailing_metadata)["grpc-status-details-bin"]
    full = status_pb2.Status.FromString(details)
    assert (full.code, full.message) == (status.code.value[0], status.details)
    return status.code, status.details, full


def unpack(full: status_pb2.Status, kind: type) -> list:
    found = []
    for detail in full.details:
        message = kind()
        if detail.Unpack(message):
            found.append(message)
    return found


def info(full: status_pb2.Status) -> error_details_pb2.ErrorInfo:
    [found] = unpack(full, error_details_pb2.ErrorInfo)
    return found


def test_a_domain_error_becomes_what_the_table_says() -> None:
    code, text, full = reported(NotPayable("order ord_1 is PAID"))
    assert (code, text) == (grpc.StatusCode.FAILED_PRECONDITION, "order ord_1 is PAID")
    assert (info(full).reason, info(full).domain) == ("NOT_PAYABLE", "payment.v1")
    [failure] = unpack(full, error_details_pb2.PreconditionFailure)
    [violation] = failure.violations
    assert (violation.type, violation.subject) == ("ORDER_STATUS", "ord_1")
    assert violation.description == "order ord_1 is PAID"


def test_an_error_without_a_text_says_at_least_its_reason() -> None:
    """Its docstring is no text: Python removes docstrings under -OO."""
    assert reported(NotPayable())[1] == "NOT_PAYABLE"


def test_the_tables_own_text_goes_before_the_errors() -> None:
    assert reported(NotFound("SELECT * FROM orders"))[1] == "no such order"


def test_a_subclass_is_mapped_as_its_base() -> None:
    assert info(reported(NotPayableToday())[2]).reason == "NOT_PAYABLE"


def test_an_error_may_tell_when_to_try_again() -> None:
    """And the table goes before what counts as infrastructure."""
    code, _, full = reported(ConnectionResetError())
    [retry] = unpack(full, error_details_pb2.RetryInfo)
    assert code is grpc.StatusCode.UNAVAILABLE
    assert retry.retry_delay.ToTimedelta().total_seconds() == 1.5
    assert info(full).reason == "GONE"


def test_an_invalid_request_names_each_field() -> None:
    error = InvalidRequest(
        [
            Violation("price.amount_minor", "must be more than 0", "必须大于 0"),
            Violation("", "the request is empty", "请求为空"),
        ]
    )
    code, text, full = reported(error)
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert text == "price.amount_minor must be more than 0; the request is empty"
    assert info(full).reason == "INVALID_REQUEST"
    [bad] = unpack(full, error_details_pb2.BadRequest)
    assert [(v.field, v.description) for v in bad.field_violations] == [
        ("price.amount_minor", "must be more than 0"),
        ("", "the request is empty"),
    ]


def test_an_invalid_request_is_explained_in_the_callers_language() -> None:
    """The status's own message stays English, for developers."""
    error = InvalidRequest([Violation("order_id", "is required", "为必填项")])
    for language, locale, expected in (
        ("zh-CN,en;q=0.5", "zh-CN", "order_id 为必填项"),
        ("en", "en", "order_id is required"),
        ("", "en", "order_id is required"),
    ):
        status = MAPPER.status(error, "payment.v1", language)
        details = dict(status.trailing_metadata)["grpc-status-details-bin"]
        full = status_pb2.Status.FromString(details)
        [localized] = unpack(full, error_details_pb2.LocalizedMessage)
        assert (localized.locale, localized.message) == (locale, expected)
        assert full.message == "order_id is required"
        [bad] = unpack(full, error_details_pb2.BadRequest)
        assert bad.field_violations[0].description == "is required"
        assert bad.field_violations[0].localized_message.message == (
            "为必填项" if locale == "zh-CN" else ""
        )


@pytest.mark.parametrize(
    ("error", "reason", "field", "en", "zh"),
    [
        (
            NotAWord("must be a word"),
            "INVALID_REQUEST",
            "recipient.name",
            "must be a word",
            NotAWord.zh,
        ),
        (NotSold("XYZ"), "NOT_SOLD", "price.currency", "must be a currency", "必须是币种"),
    ],
)
def test_an_error_of_a_field_is_reported_as_an_invalid_request(
    error: Exception, reason: str, field: str, en: str, zh: str
) -> None:
    """Field and reason in every text, in both languages."""
    status = MAPPER.status(error, "payment.v1", "zh-CN")
    full = status_pb2.Status.FromString(dict(status.trailing_metadata)["grpc-status-details-bin"])
    assert (status.code, status.details) == (grpc.StatusCode.INVALID_ARGUMENT, f"{field} {en}")
    assert info(full).reason == reason
    [localized] = unpack(full, error_details_pb2.LocalizedMessage)
    assert localized.message == f"{field} {zh}"
    [bad] = unpack(full, error_details_pb2.BadRequest)
    [violation] = bad.field_violations
    assert (violation.field, violation.description) == (field, en)
    assert violation.localized_message.message == zh


@pytest.mark.parametrize("table", [PAYMENT_ERRORS, NOTIFICATION_ERRORS])
def test_a_refused_address_says_field_and_reason_in_both_languages(table: ErrorTable) -> None:
    with pytest.raises(MalformedMailAddress) as refused:
        MailAddress.parse("li@123")
    for language, wanted in (
        ("en", "email must be a mail address: the part after the @ is not a domain name"),
        ("zh-CN", "email 必须是有效的邮件地址:@ 后的部分不是有效的域名"),
    ):
        status = ErrorMapper(table).status(refused.value, "payment.v1", language)
        details = dict(status.trailing_metadata)["grpc-status-details-bin"]
        full = status_pb2.Status.FromString(details)
        [localized] = unpack(full, error_details_pb2.LocalizedMessage)
        assert localized.message.removeprefix("recipient.") == wanted


def test_an_invalid_request_may_have_a_reason_of_its_own() -> None:
    assert info(
        reported(InvalidRequest([Violation("x", "y", "z")], "INVALID_PAGE_TOKEN"))[2]
    ).reason == ("INVALID_PAGE_TOKEN")


@pytest.mark.parametrize(
    "error",
    [
        DBAPIError("SELECT secret", {}, OSError("host db-7"), connection_invalidated=True),
        PoolTimeoutError("QueuePool limit of size 10"),
        ConnectionRefusedError("db-7:5432"),
    ],
)
def test_a_database_that_is_away_is_unavailable_and_to_be_tried_again(error: Exception) -> None:
    code, text, full = reported(error)
    assert code is grpc.StatusCode.UNAVAILABLE
    assert text == "the service's database is unavailable"
    assert info(full).reason == "DATABASE_UNAVAILABLE"
    assert len(unpack(full, error_details_pb2.RetryInfo)) == 1


@pytest.mark.parametrize(
    "error",
    [
        ValueError("hunter2"),
        KeyError("hunter2"),
        IntegrityError("INSERT hunter2", {"p": "hunter2"}, Exception("hunter2")),
    ],
)
def test_an_unexpected_error_tells_nothing_but_an_incident(error: Exception) -> None:
    code, text, full = reported(error)
    incident = info(full).metadata["incident_id"]
    assert code is grpc.StatusCode.INTERNAL
    assert text == f"unexpected error, incident {incident}"
    assert info(full).reason == "INTERNAL"
    assert b"hunter2" not in full.SerializeToString()


def test_each_incident_has_a_name_of_its_own() -> None:
    assert reported(ValueError())[1] != reported(ValueError())[1]


def test_what_is_sent_back_is_short_and_masked() -> None:
    """Clients take headers up to some KiB, and a text may quote what was stored."""
    _, text, full = reported(NotPayable("x" * 100_000 + "ABCD-EFGH-1234-5678"))
    assert len(text) < 500
    assert len(full.SerializeToString()) < 5_000
    assert "EFGH" not in reported(NotPayable("code ABCD-EFGH-1234-5678"))[1]


def test_absurdly_many_violations_are_counted_instead_of_listed() -> None:
    [bad] = unpack(
        reported(InvalidRequest([Violation("f" * 9999, "wrong", "错误")] * 500))[2],
        error_details_pb2.BadRequest,
    )
    assert bad.field_violations[-1].description == "and 484 more"
