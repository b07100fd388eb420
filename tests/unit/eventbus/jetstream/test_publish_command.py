"""The protocol's command that publishes a message."""

from eventbus.jetstream.client import publish_command


def test_a_message_without_headers() -> None:
    assert publish_command("a.b", b"+ACK") == b"PUB a.b 4\r\n+ACK\r\n"


def test_the_sizes_of_a_message_with_headers_count_bytes() -> None:
    command = publish_command("a.b", b"body", {"Id": "1", "Name": "李华"})
    head = "NATS/1.0\r\nId: 1\r\nName: 李华\r\n\r\n".encode()
    assert command == b"HPUB a.b %d %d\r\n%bbody\r\n" % (len(head), len(head) + 4, head)


def test_a_line_break_in_a_header_begins_no_other_header() -> None:
    command = publish_command("a.b", b"", {"Id": "1\r\nNats-Expected-Stream: X", "Name": "a\nb\r"})
    assert b"Id: 1 Nats-Expected-Stream: X\r\nName: a b\r\n\r\n" in command


def test_line_breaks_that_only_look_complete_in_sum_are_replaced_too() -> None:
    command = publish_command("a.b", b"", {"Id": "1\r2\n3"})
    assert b"Id: 1 2 3\r\n\r\n" in command
