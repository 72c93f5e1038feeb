"""stdin and stdout as pipes, served in the event loop: what goes in comes out, however it is cut and however late."""

from __future__ import annotations

import os
import select
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scale_mcp.front.handover import Handover
from scale_mcp.server.transports.pipes import PipeLines, PipeOutput, are_pipes

LONGEST = 1000


@contextmanager
def pipe() -> Iterator[tuple[int, int]]:
    source, sink = os.pipe()
    try:
        yield source, sink
    finally:
        for end in (source, sink):
            with suppress(OSError):  # the test closed it
                os.close(end)


async def lines_of(pieces: list[bytes], unserved: bytes = b"", ahead: int = 4) -> list[bytes]:
    """The lines read while another thread writes the pieces and closes the pipe."""
    with pipe() as (source, sink):

        def write() -> None:
            for piece in pieces:
                os.write(sink, piece)
            os.close(sink)

        writer = threading.Thread(target=write)
        writer.start()
        with anyio.fail_after(10):
            found = [line async for line in PipeLines(Handover(source, -1, unserved, []), ahead, LONGEST, bytes)]
        writer.join()
        return found


@given(st.lists(st.binary(min_size=1, max_size=30).map(lambda raw: raw.replace(b"\n", b"x")), max_size=40), st.data())
def test_lines_come_whole_and_in_order_however_the_bytes_are_cut(lines: list[bytes], data: st.DataObject) -> None:
    sent = b"\n".join(lines)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(sent)), max_size=6)))
    pieces = [sent[start:end] for start, end in zip([0, *cuts], [*cuts, len(sent)], strict=True)]
    split = data.draw(st.integers(0, len(pieces)))

    found = anyio.run(lines_of, pieces[split:], b"".join(pieces[:split]))

    assert found == [line for line in lines if line.strip()]


@pytest.mark.anyio
async def test_reading_pauses_while_nobody_takes_the_lines() -> None:
    with pipe() as (source, sink):
        reader = PipeLines(Handover(source, -1, b"", []), 4, LONGEST, bytes)
        for sent in (b"a\n" * 10, b"b\n"):
            os.write(sink, sent)
            for _ in range(5):  # turns of the loop in which it could read
                await anyio.lowlevel.checkpoint()
        left_in_the_pipe = select.select([source], [], [], 0)[0]
        stream = aiter(reader)
        with anyio.fail_after(10):
            found = [await anext(stream) for _ in range(11)]
        await stream.aclose()  # type: ignore[attr-defined]

    assert left_in_the_pipe
    assert found == [b"a"] * 10 + [b"b"]


@pytest.mark.anyio
async def test_a_line_without_end_ends_the_conversation() -> None:
    assert await lines_of([b"ok\n", b"x" * (LONGEST + 1)]) == [b"ok"]


@pytest.mark.anyio
async def test_a_client_that_reads_late_gets_everything_and_stops_nobody_meanwhile() -> None:
    messages = [bytes([65 + number % 26]) * 5000 + b"\n" for number in range(100)]
    with pipe() as (source, sink):
        output = PipeOutput(sink, most_unsent=10**9)
        with anyio.fail_after(10):
            for message in messages:
                await output.put(message)
        received = bytearray()
        with anyio.fail_after(10):
            while len(received) < sum(map(len, messages)):
                await anyio.wait_readable(source)
                received += os.read(source, 65536)
                await anyio.lowlevel.checkpoint()
        output.finish()

    assert bytes(received) == b"".join(messages)


@pytest.mark.anyio
async def test_a_client_that_never_reads_is_waited_for_beyond_the_limit() -> None:
    with pipe() as (source, sink):
        output = PipeOutput(sink, most_unsent=100_000)
        async with anyio.create_task_group() as tasks:
            done = anyio.Event()

            async def put() -> None:
                await output.put(b"x" * 300_000)
                done.set()

            tasks.start_soon(put)
            await anyio.lowlevel.checkpoint()
            assert not done.is_set()
            with anyio.fail_after(10):
                while not done.is_set():
                    await anyio.wait_readable(source)
                    os.read(source, 65536)
                    await anyio.lowlevel.checkpoint()
        output._wait(wanted=False)


@pytest.mark.anyio
async def test_a_client_that_is_gone_ends_in_no_exception(caplog: pytest.LogCaptureFixture) -> None:
    with pipe() as (source, sink):
        output = PipeOutput(sink, most_unsent=10)
        os.close(source)
        with anyio.fail_after(10):
            await output.put(b"x" * 100)
        output.finish()

    assert "stdout_failed" in caplog.text


def test_only_pipes_are_served_in_the_loop(tmp_path: object) -> None:
    with pipe() as (source, sink), open(os.devnull) as null:  # noqa: PTH123
        assert are_pipes(Handover(source, sink, b"", []))
        assert not are_pipes(Handover(null.fileno(), sink, b"", []))
