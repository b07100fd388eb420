"""The log writer loses no line, keeps their order, and never waits for who reads them."""

import os
import select
import threading
from collections.abc import Iterator

import pytest

from runtime.log_writer import LogWriter

MORE_THAN_A_PIPE_HOLDS = 200_000


class Pipe:
    """A pipe whose end is written by a log writer."""

    def __init__(self) -> None:
        self.reader, self.end = os.pipe()
        self.writer = LogWriter(self.end, lambda count: b"dropped %d\n" % count, 1_000_000)

    def read(self, until: bytes) -> list[bytes]:
        """The lines up to one; waits for what the writer's thread writes."""
        data = b""
        while not data.endswith(until):
            assert select.select([self.reader], [], [], 10)[0], "nothing is written"
            data += os.read(self.reader, 65_536)
        return data.splitlines(keepends=True)

    def is_empty(self) -> bool:
        return not select.select([self.reader], [], [], 0)[0]

    def close(self) -> None:
        self.writer.close(0)
        os.close(self.reader)
        os.close(self.end)


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    pipe = Pipe()
    yield pipe
    pipe.close()


def lines(count: int, length: int = 10) -> list[bytes]:
    return [b"%0*d\n" % (length - 1, number) for number in range(count)]


def write(pipe: Pipe, written: list[bytes]) -> None:
    for line in written:
        pipe.writer.write(line)


def test_a_line_is_written_without_a_flush(pipe: Pipe) -> None:
    pipe.writer.write(b"one\n")
    assert pipe.read(b"one\n") == [b"one\n"]
    pipe.writer.write(b"two\n")
    assert pipe.read(b"two\n") == [b"two\n"]


def test_a_line_at_once_is_written_when_the_call_returns_after_those_before_it(pipe: Pipe) -> None:
    pipe.writer.write(b"one\n")
    pipe.writer.write(b"two\n", at_once=True)
    assert not pipe.is_empty()
    assert pipe.read(b"two\n") == [b"one\n", b"two\n"]


def test_many_lines_are_written_before_their_time(pipe: Pipe) -> None:
    write(pipe, written := lines(4, 10_000))
    assert not pipe.is_empty()
    assert pipe.read(written[-1]) == written


def test_close_writes_what_waits_and_later_lines_are_written_at_once(pipe: Pipe) -> None:
    pipe.writer.write(b"one\n")
    pipe.writer.close()
    assert not pipe.is_empty()
    assert pipe.read(b"one\n") == [b"one\n"]
    pipe.writer.write(b"two\n")
    assert not pipe.is_empty()


def test_lines_of_several_threads_are_whole_and_each_threads_are_in_order(pipe: Pipe) -> None:
    def log(name: bytes) -> None:
        for number in range(500):
            pipe.writer.write(b"%s %d\n" % (name, number), at_once=number % 7 == 0)

    threads = [threading.Thread(target=log, args=(name,)) for name in (b"a", b"b", b"c")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    pipe.writer.write(b"end\n")
    read = pipe.read(b"end\n")[:-1]
    for name in (b"a", b"b", b"c"):
        own = [line for line in read if line.startswith(name)]
        assert own == [b"%s %d\n" % (name, number) for number in range(500)]
    assert len(read) == 1500


@pytest.mark.parametrize("blocking", [True, False])
def test_a_full_pipe_blocks_nobody_and_loses_nothing(pipe: Pipe, blocking: bool) -> None:
    os.set_blocking(pipe.end, blocking)
    write(pipe, written := lines(MORE_THAN_A_PIPE_HOLDS // 100, 100))
    pipe.writer.write(b"end\n", at_once=True)
    assert pipe.read(b"end\n") == [*written, b"end\n"]


def test_a_line_longer_than_a_pipe_is_written_whole(pipe: Pipe) -> None:
    long = b"x" * MORE_THAN_A_PIPE_HOLDS + b"\n"
    write(pipe, [b"one\n", long, b"two\n"])
    assert pipe.read(b"two\n") == [b"one\n", long, b"two\n"]


def test_what_memory_does_not_hold_is_dropped_and_counted(pipe: Pipe) -> None:
    written = lines(20_000, 100)  # twice as much as may wait
    write(pipe, written)
    dropped = pipe.writer._dropped
    kept = written[: len(written) - dropped]
    assert 0 < dropped < len(written)
    assert pipe.read(kept[-1]) == kept
    pipe.writer.write(b"end\n")
    assert pipe.read(b"end\n") == [b"dropped %d\n" % dropped, b"end\n"]


def test_lines_that_nobody_reads_fail_no_caller_and_are_counted(pipe: Pipe) -> None:
    os.close(pipe.reader)
    write(pipe, [b"one\n", b"two\n"])
    pipe.writer.write(b"three\n", at_once=True)
    pipe.reader, end = os.pipe()  # as if the disk had room again
    os.dup2(end, pipe.end)
    os.close(end)
    write(pipe, [b"four\n"])
    assert pipe.read(b"four\n") == [b"four\n"]
    pipe.writer.flush()  # waits for the thread that has just written
    write(pipe, [b"five\n"])
    assert pipe.read(b"five\n") == [b"dropped 3\n", b"five\n"]


def test_a_closed_descriptor_fails_no_caller() -> None:
    reader, end = os.pipe()
    writer = LogWriter(end, lambda _: b"dropped\n")
    os.close(end)
    writer.write(b"one\n", at_once=True)
    writer.close()
    os.close(reader)
    assert writer._dropped == 1
