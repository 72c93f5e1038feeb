"""Files going up in pieces and result files coming down in pieces."""

from __future__ import annotations

import io
import json
import os
from collections.abc import AsyncIterator
from email import message_from_bytes
from email.message import Message
from pathlib import Path
from typing import IO, Any

import anyio
import httpx2
import pytest

from scale_mcp.api import (
    ApiOptions,
    Conflict,
    ConnectionFailed,
    DeadlineExceeded,
    NotFound,
    OutcomeUnknown,
    RateLimited,
    RefusedBeforeSending,
    ScaleApi,
    TooLarge,
    Unauthorized,
    UnexpectedAnswer,
)
from scale_mcp.models.limits import FILE_BYTES

from .scripted import KEY, TASK_ID, no, ok, scale

pytestmark = pytest.mark.anyio

FILE = {"id": "f-1", "attachment_url": "scaledata://x/f-1", "size": 3, "reference_id": "r-1"}
UUID = "6d0e1111-2222-3333-4444-555566667777"
ABROAD = "https://results.example.com/file?signature=1"


def parts(request: httpx2.Request) -> list[Message]:
    head = f"Content-Type: {request.headers['content-type']}\r\n\r\n".encode()
    payload = message_from_bytes(head + request.content).get_payload()
    assert isinstance(payload, list)
    return payload  # type: ignore[return-value]


def name_of(part: Message) -> str:
    return str(part.get_param("name", header="content-disposition"))


# up


async def test_an_upload_sends_the_text_parts_first_and_then_the_file():
    api, script = scale(ok(FILE))
    file = await api.files.upload(
        b"\x89PNG\r\n--x",
        file_name='ki"t\r\nten.png',
        mime_type="image/png",
        display_name="Kätzchen",
        project_name="p",
        reference_id="r-1",
        metadata={"cam": "3"},
    )

    (request,) = script.requests
    form = parts(request)
    assert file.id == "f-1"
    assert script.lines == ["POST /v1/files/upload"]
    assert [name_of(part) for part in form] == ["display_name", "project_name", "reference_id", "metadata", "file"]
    assert [part.get_payload(decode=True) for part in form] == [
        "Kätzchen".encode(),
        b"p",
        b"r-1",
        b'{"cam": "3"}',
        b"\x89PNG\r\n--x",
    ]
    assert form[-1].get_filename() == "ki%22t%0D%0Aten.png"
    assert form[-1].get_content_type() == "image/png"
    assert int(request.headers["content-length"]) == len(request.content)
    assert "transfer-encoding" not in request.headers


async def test_an_upload_without_a_type_names_none():
    api, script = scale(ok(FILE))
    await api.files.upload(b"x", file_name="")

    (part,) = parts(script.requests[0])
    assert part["content-type"] is None
    assert part.get_filename() == "file"


def as_bytes(content: bytes, _folder: Path) -> bytes:
    return content


def as_path(content: bytes, folder: Path) -> Path:
    (folder / "a.bin").write_bytes(content)
    return folder / "a.bin"


def as_open_file(content: bytes, folder: Path) -> IO[bytes]:
    file = io.BytesIO(b"skipped" + content)
    file.seek(7)
    return file


@pytest.mark.parametrize("source", [as_bytes, as_path, as_open_file])
async def test_a_repeated_upload_sends_the_whole_file_again(source: Any, tmp_path: Path):
    content = os.urandom(700_000)
    api, script = scale([no(429), httpx2.ConnectError("refused"), ok(FILE)])
    progress: list[tuple[int, int]] = []

    async def report(sent: int, size: int) -> None:
        progress.append((sent, size))

    await api.files.upload(source(content, tmp_path), file_name="a.bin", on_progress=report)

    assert [parts(request)[0].get_payload(decode=True) for request in script.requests] == [content] * 3
    assert progress[-1] == (700_000, 700_000)
    assert [sent for sent, _ in progress[:3]] == [262_144, 524_288, 700_000]


async def test_an_upload_is_never_in_memory_as_a_whole(tmp_path: Path):
    path = tmp_path / "large"
    with path.open("wb") as file:
        file.truncate(20 * 1024 * 1024)
    largest = 0

    async def receive(request: httpx2.Request) -> httpx2.Response:
        nonlocal largest
        assert not isinstance(request.stream, httpx2.ByteStream)
        async for piece in request.stream:  # type: ignore[union-attr]
            largest = max(largest, len(piece))
        return ok(FILE)

    class Reading(httpx2.AsyncBaseTransport):
        async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
            return await receive(request)

    async with ScaleApi(KEY, transport=Reading()) as api:
        await api.files.upload(path, file_name="large")

    assert 0 < largest <= 256 * 1024


async def test_a_file_of_80_mb_goes_and_one_byte_more_is_refused_before_sending(tmp_path: Path):
    path = tmp_path / "large"
    with path.open("wb") as file:
        file.truncate(FILE_BYTES + 1)
    api, script = scale(ok(FILE))
    with pytest.raises(TooLarge, match="80 MB"):
        await api.files.upload(path, file_name="large")
    assert script.requests == []

    os.truncate(path, FILE_BYTES)
    await api.files.upload(path, file_name="large")
    assert len(script.requests) == 1


async def test_a_file_that_cannot_be_read_is_refused_before_sending(tmp_path: Path):
    api, script = scale(ok(FILE))
    with pytest.raises(RefusedBeforeSending, match="cannot be read"):
        await api.files.upload(tmp_path / "absent", file_name="x")
    with pytest.raises(RefusedBeforeSending, match="cannot be read"):
        await api.files.upload(tmp_path, file_name="x")
    with pytest.raises(RefusedBeforeSending, match="empty"):
        await api.files.upload(b"", file_name="x")
    with pytest.raises(RefusedBeforeSending, match="MIME"):
        await api.files.upload(b"x", file_name="x", mime_type="image/png\r\nX-Evil: 1")

    assert script.requests == []


async def test_a_stream_that_cannot_be_read_twice_is_refused():
    reader, writer = os.pipe()
    os.close(writer)
    api, script = scale(ok(FILE))
    with os.fdopen(reader, "rb") as pipe, pytest.raises(RefusedBeforeSending, match="read twice"):
        await api.files.upload(pipe, file_name="x")

    assert script.requests == []


async def test_a_file_that_shrinks_on_the_way_is_not_sent_short(tmp_path: Path):
    path = as_path(b"x" * 600_000, tmp_path)

    def shrink(_sent: int, _size: int) -> None:
        os.truncate(path, 10)

    api, _ = scale(ok(FILE))
    with pytest.raises(RefusedBeforeSending, match="became shorter"):
        await api.files.upload(path, file_name="x", on_progress=shrink)


@pytest.mark.parametrize("metadata", [{"a": "x" * 8000}, {"a": float("nan")}, {"a": "\ud800"}, {"a": object()}])
async def test_metadata_that_scale_would_not_take_is_refused_before_sending(metadata: dict[str, Any]):
    api, script = scale(ok(FILE))
    with pytest.raises(RefusedBeforeSending, match="metadata"):
        await api.files.upload(b"x", file_name="x", metadata=metadata)

    assert script.requests == []


async def test_metadata_of_8_kb_is_taken():
    api, script = scale(ok(FILE))
    await api.files.upload(b"x", file_name="x", metadata={"a": "x" * (8000 - len('{"a": ""}'))})

    assert len(script.requests) == 1


async def test_an_upload_without_a_reference_is_not_repeated_in_doubt():
    api, script = scale(httpx2.ReadError("reset"))
    with pytest.raises(OutcomeUnknown, match="list the project's files"):
        await api.files.upload(b"x", file_name="x")

    assert len(script.requests) == 1


async def test_an_upload_with_a_reference_is_repeated_and_found_among_the_projects_files():
    pages = [
        ok({"docs": [{"id": "f-0"}], "has_more": True, "cursor": "c"}),
        ok({"docs": [FILE], "has_more": False}),
    ]
    api, script = scale([no(500), no(409), *pages])
    file = await api.files.upload(b"x", file_name="x", project_name="p", reference_id="r-1")

    assert file.id == "f-1"
    assert script.lines[2:] == ["GET /v1/files?project=p", "GET /v1/files?project=p&cursor=c"]


async def test_an_upload_that_conflicts_with_our_own_attempt_says_so_when_it_cannot_be_looked_up():
    api, script = scale([no(500), no(409, "reference_id taken.")])
    with pytest.raises(Conflict, match="An earlier attempt of this call may have stored the file"):
        await api.files.upload(b"x", file_name="x", reference_id="r-1")

    assert len(script.requests) == 2


async def test_a_reference_that_is_taken_at_once_is_a_conflict():
    api, _ = scale(no(409, "reference_id taken."))
    with pytest.raises(Conflict, match="reference_id taken") as caught:
        await api.files.upload(b"x", file_name="x", project_name="p", reference_id="r-1")
    assert not caught.value.in_doubt

    with pytest.raises(Conflict, match="reference_id taken"):
        await api.files.import_url("https://x.y/z.png", reference_id="r-1")


async def test_an_import_with_a_reference_is_recovered_too():
    api, _ = scale([httpx2.ReadError("reset"), no(409), ok({"docs": [FILE]})])

    assert (await api.files.import_url("https://x.y/z.png", project_name="p", reference_id="r-1")).id == "f-1"


async def test_an_upload_of_unknown_fate_with_a_reference_may_be_sent_again():
    api, _ = scale([*[httpx2.ReadError("reset")] * 4, ok({"docs": []})])
    with pytest.raises(OutcomeUnknown, match="same reference_id cannot store it twice"):
        await api.files.upload(b"x", file_name="x", project_name="p", reference_id="r-1")


# down


async def read(api: ScaleApi) -> bytes:
    async with api.tasks.response(TASK_ID, UUID) as stream:
        return b"".join([piece async for piece in stream.chunks()])


async def test_a_result_file_comes_with_its_type_and_size():
    api, script = scale(httpx2.Response(200, content=b"\x89PNG", headers={"content-type": "image/png"}))
    async with api.tasks.response(TASK_ID, UUID) as stream:
        assert (stream.content_type, stream.size) == ("image/png", 4)
        assert b"".join([piece async for piece in stream.chunks()]) == b"\x89PNG"

    assert script.lines == [f"GET /v1/task/{TASK_ID}/response_url/{UUID}"]
    assert "authorization" in script.requests[0].headers


async def test_a_file_of_unannounced_size_has_none():
    async def pieces() -> AsyncIterator[bytes]:
        yield b"a"
        yield b"b"

    api, _ = scale(lambda _: httpx2.Response(200, content=pieces()))
    async with api.tasks.response(TASK_ID, UUID) as stream:
        assert (stream.content_type, stream.size) == ("application/octet-stream", None)
        assert [piece async for piece in stream.chunks()] == [b"a", b"b"]


async def test_a_file_is_read_only_as_far_as_it_is_wanted_and_closed_then():
    closed = produced = 0

    class Endless(httpx2.AsyncByteStream):
        async def __aiter__(self) -> AsyncIterator[bytes]:
            nonlocal produced
            while True:
                produced += 1
                yield b"x" * 1000

        async def aclose(self) -> None:
            nonlocal closed
            closed += 1

    api, _ = scale(lambda _: httpx2.Response(200, stream=Endless()))
    async with api.tasks.response(TASK_ID, UUID) as stream:
        async for _ in stream.chunks():
            if produced == 3:
                break

    assert (produced, closed) == (3, 1)


async def test_a_redirect_to_another_host_never_carries_the_key():
    api, script = scale([httpx2.Response(302, headers={"location": ABROAD}), httpx2.Response(200, content=b"file")])

    assert await read(api) == b"file"
    assert str(script.requests[1].url) == ABROAD
    assert "authorization" in script.requests[0].headers
    assert "authorization" not in script.requests[1].headers
    assert KEY not in str(script.requests[1].headers.raw)


async def test_the_key_does_not_come_back_after_leaving_our_origin():
    back = "https://api.scale.com/v1/task/other/response_url/x"
    api, script = scale(
        [
            httpx2.Response(302, headers={"location": ABROAD}),
            httpx2.Response(302, headers={"location": back}),
            httpx2.Response(200, content=b"file"),
        ]
    )
    await read(api)

    assert str(script.requests[2].url) == back
    assert "authorization" not in script.requests[2].headers


async def test_a_redirect_within_our_origin_keeps_the_key():
    api, script = scale([httpx2.Response(301, headers={"location": "/v1/elsewhere"}), httpx2.Response(200)])
    await read(api)

    assert "authorization" in script.requests[1].headers


@pytest.mark.parametrize(
    "target",
    [
        "http://results.example.com/file",
        "http://api.scale.com/v1/file",
        "http://127.0.0.1:6379/",
        "http://localhost/",
        "https://localhost/",
        "https://127.0.0.1/",
        "https://[::1]/",
        "https://10.0.0.1/",
        "https://169.254.169.254/latest/meta-data",
        "https://[::ffff:169.254.169.254]/",
        "https://user:pass@results.example.com/",
        "ftp://results.example.com/",
        "file:///etc/passwd",
    ],
)
async def test_a_redirect_that_leads_into_the_house_or_out_of_https_is_not_followed(target: str):
    api, script = scale([httpx2.Response(302, headers={"location": target}), httpx2.Response(200, content=b"secret")])
    with pytest.raises(UnexpectedAnswer, match="not followed"):
        await read(api)

    assert len(script.requests) == 1


async def test_a_sandbox_on_this_machine_may_redirect_on_this_machine():
    hop = httpx2.Response(302, headers={"location": "http://127.0.0.1:9000/file"})
    api, script = scale([hop, httpx2.Response(200, content=b"file")], base_url="http://localhost:8787/v1")

    assert await read(api) == b"file"
    assert "authorization" not in script.requests[1].headers


async def test_redirects_without_end_are_given_up():
    api, script = scale(httpx2.Response(302, headers={"location": ABROAD}))
    with pytest.raises(UnexpectedAnswer, match="too often"):
        await read(api)

    assert len(script.requests) == 6


async def test_opening_a_file_waits_429s_out_and_gives_up_in_the_end():
    api, script = scale(no(429))
    with pytest.raises(RateLimited):
        async with api.tasks.response(TASK_ID, "x"):
            pass

    assert len(script.requests) == 10


async def test_opening_a_file_is_retried():
    api, script = scale([no(503), httpx2.ReadError("reset"), httpx2.Response(200, content=b"file")])

    assert await read(api) == b"file"
    assert len(script.requests) == 3


async def test_a_file_that_is_not_there_is_named_as_such():
    api, _ = scale(no(404, "No such file."))
    with pytest.raises(NotFound, match="No such file"):
        await read(api)


async def test_a_protected_file_tells_a_test_key_what_it_needs():
    api, _ = scale(no(401))
    with pytest.raises(Unauthorized, match="live key only"):
        await read(api)

    api, _ = scale(no(401), key="live_0123456789abcdef")
    with pytest.raises(Unauthorized, match="Check the API key"):
        await read(api)


async def test_a_connection_lost_half_way_is_told_to_the_reader():
    async def half() -> AsyncIterator[bytes]:
        yield b"half"
        raise httpx2.ReadError("reset")

    api, script = scale(lambda _: httpx2.Response(200, content=half()))
    received = []

    async def keep_what_comes() -> None:
        async with api.tasks.response(TASK_ID, UUID) as stream:
            async for piece in stream.chunks():
                received.append(piece)

    with pytest.raises(ConnectionFailed, match="lost"):
        await keep_what_comes()

    assert received == [b"half"]
    assert len(script.requests) == 1


async def test_waiting_for_a_file_ends_with_the_time():
    async def hang(_request: httpx2.Request) -> httpx2.Response:
        await anyio.sleep_forever()
        raise AssertionError

    api, _ = scale(hang, call_timeout=0.0)
    with pytest.raises(DeadlineExceeded):
        await read(api)


async def test_an_error_of_the_reader_passes_through_and_the_file_is_closed():
    api, script = scale(httpx2.Response(200, content=b"file"))
    with pytest.raises(KeyError):
        async with api.tasks.response(TASK_ID, UUID):
            raise KeyError("mine")

    assert len(script.requests) == 1


@pytest.mark.parametrize("uuid", ["..", "", "a/../../teams"])
async def test_the_address_of_a_file_stays_below_its_task(uuid: str):
    api, script = scale(httpx2.Response(200))
    try:
        async with api.tasks.response(TASK_ID, uuid):
            pass
    except RefusedBeforeSending:
        assert script.requests == []
    else:
        assert script.lines == [f"GET /v1/task/{TASK_ID}/response_url/a%2F..%2F..%2Fteams"]


async def test_a_download_over_a_real_connection_survives_the_end_of_its_opening_scope():
    """The deadline of opening must not reach into the reading."""
    body = json.dumps(list(range(10_000))).encode()

    async def slowly() -> AsyncIterator[bytes]:
        for start in range(0, len(body), 1000):
            await anyio.lowlevel.checkpoint()
            yield body[start : start + 1000]

    transport = httpx2.MockTransport(lambda _: httpx2.Response(200, content=slowly()))
    async with ScaleApi(KEY, transport=transport, options=ApiOptions(call_timeout=0.5)) as api:
        assert json.loads(await read(api)) == list(range(10_000))
