"""Requests as domain values."""

import pytest

from payment.v1.access_code_pb2 import Recipient as Message
from payment_svc.domain.recipient import Recipient
from payment_svc.messages.requests import from_recipient
from shared_model.mail_address import MalformedMailAddress


def test_a_recipient_is_read_in_normal_form() -> None:
    """The address in one form, a name without white space around it, Chinese by default."""
    message = Message(email="li@例子.中国", display_name=" 李华\u3000")
    assert from_recipient(message) == Recipient("li@xn--fsqu00a.xn--fiqs8s", "李华", "zh-CN")


def test_a_name_of_blanks_is_none() -> None:
    assert from_recipient(Message(email="a@b", display_name=" \u3000\u200d")).display_name == ""


def test_a_recipient_without_an_address_is_refused() -> None:
    with pytest.raises(MalformedMailAddress):
        from_recipient(Message(email="a b@example.com"))
