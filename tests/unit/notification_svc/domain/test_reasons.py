"""Replies of mail servers, made safe to store."""

from notification_svc.domain.reasons import one_line, without_address


def test_a_reply_becomes_one_line() -> None:
    assert one_line("550 no\r\n  such\tuser ") == "550 no such user"


def test_symbols_that_do_not_print_become_question_marks() -> None:
    """Terminals and log viewers interpret them."""
    assert one_line("550 \x1b[31mred\x07 \u202eno") == "550 ?[31mred? ?no"


def test_a_reply_keeps_neither_the_address_nor_its_local_part() -> None:
    reply = "<li.hua@example.com>: LI.HUA is over quota, so is li.huan"
    assert without_address(reply, "li.hua@example.com") == (
        "<***>: *** is over quota, so is li.huan"
    )


def test_the_local_part_ends_at_the_last_at_sign() -> None:
    """A quoted one contains another."""
    assert without_address("no a@b here", "a@b@example.com") == "no *** here"
