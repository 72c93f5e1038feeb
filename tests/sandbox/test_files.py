from __future__ import annotations

import json
import re
from typing import Any

import httpx2
import pytest

from scale_mcp.sandbox import Sandbox, uploads

from .conftest import Connect

pytestmark = pytest.mark.anyio

PNG = b"\x89PNG\r\n\x1a\n" + b"\x00" * 20


async def upload(client: httpx2.AsyncClient, content: bytes = PNG, name: str = "a.png", **fields: str) -> Any:
    return await client.post("/files/upload", files={"file": (name, content)}, data=fields)


async def test_an_upload_is_described_as_scale_does(sandbox: Sandbox, live: httpx2.AsyncClient) -> None:
    answer = await upload(live, project_name="yard", display_name="one", reference_id="r/1", metadata='{"cam": "3"}')

    file = answer.json()
    assert answer.status_code == 200
    assert re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", file["id"])
    assert re.fullmatch(r"scaledata://[0-9a-f]{24}/" + file["id"], file["attachment_url"])
    assert file == {
        "id": file["id"],
        "attachment_url": file["attachment_url"],
        "mime_type": "image/png",
        "size": len(PNG),
        "project_names": ["yard"],
        "display_name": "one",
        "reference_id": "r/1",
        "metadata": {"cam": "3"},
        "created_at": sandbox.clock.iso(),
        "updated_at": sandbox.clock.iso(),
    }


async def test_the_bytes_of_an_upload_are_found_by_its_attachment_url(
    sandbox: Sandbox, live: httpx2.AsyncClient, connect: Connect
) -> None:
    content = bytes(range(256)) * 40 + b"\r\n--not-the-boundary\r\n"
    url = (await upload(live, content)).json()["attachment_url"]
    owner = url.split("/")[2]

    assert uploads.content_of(sandbox.store, owner, url) == content
    assert uploads.content_of(sandbox.store, "somebody else", url) is None
    assert uploads.content_of(sandbox.store, owner, url + "0") is None


async def test_a_binary_file_without_name_or_type_is_taken(live: httpx2.AsyncClient) -> None:
    file = (await upload(live, b"\x00\x01", "file")).json()

    assert file["mime_type"] == "application/octet-stream"
    assert file["project_names"] == []


@pytest.mark.parametrize(
    ("name", "content", "declared", "expected"),
    [
        ("x.txt", b"%PDF-1.7", None, "application/pdf"),
        ("x.jpg", b"nothing known", None, "image/jpeg"),
        ("x", b"\xff\xd8\xff\xe0", "text/plain", "image/jpeg"),
        ("x", b"nothing known", "text/csv; charset=utf-8", "text/csv"),
        ("clip", b"\x00\x00\x00\x18ftypmp42", None, "video/mp4"),
        ("x", b"", None, "application/octet-stream"),
    ],
)
def test_a_mime_type_comes_from_the_content_then_the_name_then_the_caller(
    name: str, content: bytes, declared: str | None, expected: str
) -> None:
    assert uploads.mime_type_of(name, content, declared) == expected


async def test_a_reference_id_serves_once(live: httpx2.AsyncClient, connect: Connect) -> None:
    first = await upload(live, reference_id="r1")
    again = await upload(live, reference_id="r1")
    elsewhere = await upload(connect("test_other"), reference_id="r1")

    assert again.status_code == 409
    assert first.json()["id"] in again.json()["error"]
    assert elsewhere.status_code == 200


@pytest.mark.parametrize("metadata", ["[1]", "7", "{", '{"a": NaN}', '{"a": "\\ud800"}', json.dumps({"a": "x" * 8000})])
async def test_metadata_must_be_a_small_json_object(live: httpx2.AsyncClient, metadata: str) -> None:
    assert (await upload(live, metadata=metadata)).status_code == 400


async def test_a_form_without_a_file_is_refused(live: httpx2.AsyncClient) -> None:
    answer = await live.post("/files/upload", files={"other": ("a", b"b")})

    assert answer.status_code == 400
    assert answer.json()["error"] == 'Parameter is invalid, reason: "file" is required'


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("application/json", b"{}"),
        ("multipart/form-data", b"--x--"),
        ("multipart/form-data; boundary=x", b"no boundary here"),
        (
            "multipart/form-data; boundary=x",
            b'--x\r\nContent-Disposition: form-data; name="file"; filename="f"\r\n\r\ncut',
        ),
    ],
)
async def test_a_body_that_is_no_complete_form_is_refused(
    live: httpx2.AsyncClient, content_type: str, body: bytes
) -> None:
    answer = await live.post("/files/upload", content=body, headers={"content-type": content_type})

    assert answer.status_code == 400


async def test_a_file_above_eighty_megabytes_is_too_large(
    live: httpx2.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert uploads.FILE_BYTES == 80_000_000
    monkeypatch.setattr(uploads, "FILE_BYTES", 1000)

    assert (await upload(live, b"x" * 1000)).status_code == 200
    assert (await upload(live, b"x" * 1001)).status_code == 413


async def test_an_import_of_a_foreign_url_is_recorded_by_name(live: httpx2.AsyncClient) -> None:
    body = {"file_url": "https://example.com/some%20dir/cat%201.jpg?x=1", "project_name": "yard", "metadata": {"a": 1}}
    file = (await live.post("/files/import", json=body)).json()

    assert file["mime_type"] == "image/jpeg"
    assert file["size"] == 0
    assert file["project_names"] == ["yard"]
    assert file["metadata"] == {"a": 1}


async def test_an_import_of_an_own_file_copies_its_bytes(sandbox: Sandbox, live: httpx2.AsyncClient) -> None:
    first = (await upload(live)).json()
    served = f"http://sandbox.localhost/_sandbox/files/{first['id']}/content"

    for url in (first["attachment_url"], served):
        copy = (await live.post("/files/import", json={"file_url": url})).json()
        assert copy["id"] != first["id"]
        assert copy["size"] == len(PNG)
        assert copy["mime_type"] == "image/png"


@pytest.mark.parametrize(
    "url",
    [
        "https://broken.sandbox.invalid/a.png",
        "scaledata://65f0c1d2e3a4b5c6d7e8f901/8ac09a90-c143-4154-9a9b-6c35121396d1",
        "http://sandbox.localhost/_sandbox/data/no-such-picture.png",
        "http://sandbox.localhost/_sandbox/files/no-such-file/content",
        "ftp://example.com/a.png",
        "file:///etc/passwd",
        "example.com/a.png",
        "https://",
        "https://[::1",
        "https://example.com/a b.png",
        "",
        7,
        None,
    ],
)
async def test_a_url_that_cannot_be_fetched_is_refused(live: httpx2.AsyncClient, url: Any) -> None:
    answer = await live.post("/files/import", json={"file_url": url})

    assert answer.status_code == 400
    assert answer.json()["status_code"] == 400


async def test_an_import_with_a_used_reference_id_conflicts(live: httpx2.AsyncClient) -> None:
    await upload(live, reference_id="r1")
    answer = await live.post("/files/import", json={"file_url": "https://example.com/a.png", "reference_id": "r1"})

    assert answer.status_code == 409


async def test_a_list_needs_a_project(live: httpx2.AsyncClient) -> None:
    assert (await live.get("/files")).status_code == 400


@pytest.mark.parametrize("cursor", ["next_token", "cursor"])
async def test_a_list_goes_from_page_to_page(live: httpx2.AsyncClient, cursor: str) -> None:
    names = [f"{number}.png" for number in range(5)]
    for name in names:
        await upload(live, display_name=name, project_name="a b/c")
    await upload(live, project_name="other")

    seen: list[str] = []
    token = ""
    pages = 0
    while True:
        query = {"project": "a b/c", "limit": 2, cursor: token}
        page = (await live.get("/files", params=query)).json()
        pages += 1
        assert page["total"] == 5
        seen += [file["display_name"] for file in page["docs"]]
        assert page["has_more"] is ("next_token" in page)
        if not page["has_more"]:
            break
        assert page["next_token"] == page["cursor"]
        token = page[cursor]

    assert pages == 3
    assert seen == names[::-1]


async def test_a_list_is_filtered_by_all_the_metadata_given(live: httpx2.AsyncClient) -> None:
    for cam, day in (("1", 1), ("1", 2), ("2", 1)):
        await upload(live, project_name="p", metadata=json.dumps({"cam": cam, "day": day, "n": {"b": 1, "a": [2]}}))

    async def count(wanted: Any) -> int:
        answer = await live.get("/files", params={"project": "p", "metadata": json.dumps(wanted)})
        return int(answer.json()["total"])

    assert await count({"cam": "1"}) == 2
    assert await count({"cam": "1", "day": 1}) == 1
    assert await count({"cam": 1}) == 0
    assert await count({"n": {"a": [2], "b": 1}}) == 3
    assert await count({"other": None}) == 0
    assert await count({}) == 3


@pytest.mark.parametrize(
    "query", [{"metadata": "{"}, {"metadata": "[]"}, {"limit": "0"}, {"limit": "101"}, {"next_token": "?"}]
)
async def test_a_wrong_filter_is_refused(live: httpx2.AsyncClient, query: dict[str, str]) -> None:
    assert (await live.get("/files", params={"project": "p", **query})).status_code == 400


async def test_files_of_another_account_are_not_listed(live: httpx2.AsyncClient, connect: Connect) -> None:
    await upload(live, project_name="p")

    assert (await connect("test_side").get("/files", params={"project": "p"})).json()["docs"] == []


async def test_listing_files_never_scans_the_table(sandbox: Sandbox) -> None:
    plan = sandbox.store.plan(
        "SELECT * FROM files WHERE account_id = ? AND project = ? ORDER BY position DESC", ("a", "p")
    )

    assert not [line for line in plan if line.startswith("SCAN") or "TEMP B-TREE" in line]
