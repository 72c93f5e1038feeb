"""Local files: only below the operator's folder, never over a link, checked on the opened file itself."""

from __future__ import annotations

import os
import struct
import zlib
from dataclasses import replace
from pathlib import Path

import httpx2
import pytest

from scale_mcp.api import ScaleApi
from scale_mcp.tools import files as file_tools
from scale_mcp.tools.card import Call, ToolFailure
from scale_mcp.tools.folders import check_new_file_below, new_file_below, open_below
from tests.tools.conftest import TASK_ID, UUID, FakeScale, run

RESPONSE = f"GET /task/{TASK_ID}/response_url/{UUID}"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "open"
    (root / "sub").mkdir(parents=True)
    (root / "a.txt").write_bytes(b"hello")
    (root / "sub" / "b.txt").write_bytes(b"below")
    (tmp_path / "secret.txt").write_bytes(b"secret")
    return root


@pytest.mark.anyio
async def test_without_an_opened_folder_the_error_names_the_setting(call: Call, scale: FakeScale):
    with pytest.raises(ToolFailure, match=r"--upload-root \(SCALE_MCP_UPLOAD_ROOT\)"):
        await run(call, "upload_file", {"path": "a.txt"})
    with pytest.raises(ToolFailure, match=r"--download-root \(SCALE_MCP_DOWNLOAD_ROOT\)"):
        await run(call, "get_task_response", {"task_id": TASK_ID, "uuid": UUID, "save_as": "a.json"})

    assert scale.sent == []


@pytest.mark.anyio
@pytest.mark.parametrize("path", ["a.txt", "sub/b.txt", "./sub/b.txt"])
async def test_a_file_below_the_folder_is_uploaded(path: str, root: Path, call: Call, scale: FakeScale):
    await run(replace(call, upload_root=root), "upload_file", {"path": path})

    (sent,) = scale.sent
    assert (root / path).read_bytes() in sent.content
    assert f'filename="{Path(path).name}"'.encode() in sent.content


@pytest.mark.anyio
async def test_an_absolute_path_below_the_folder_will_do(root: Path, call: Call, scale: FakeScale):
    await run(replace(call, upload_root=root), "upload_file", {"path": str(root / "sub" / "b.txt")})

    assert b"below" in scale.sent[0].content


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("../secret.txt", "without `..`"),
        ("sub/../../secret.txt", "without `..`"),
        ("/etc/passwd", "outside the folder"),
        ("/proc/self/environ", "outside the folder"),
        ("/", "outside the folder"),
        ("sub", "is not a regular file"),
        (".", "must name a file"),
        ("nothing.txt", "There is no file"),
        ("a.txt/x", "through a file"),
        ("..\\secret.txt", "not a plain path"),
        ("C:/secret.txt", "not a plain path"),
        ("a.txt\0.png", "not a plain path"),
        ("link.txt", "symbolic link"),
        ("linked/secret.txt", "symbolic link"),
        ("pipe", "is not a regular file"),
        ("empty.txt", "is empty"),
    ],
)
async def test_nothing_else_is_read(path: str, says: str, root: Path, call: Call, scale: FakeScale):
    (root / "link.txt").symlink_to(root.parent / "secret.txt")
    (root / "linked").symlink_to(root.parent)
    os.mkfifo(root / "pipe")
    (root / "empty.txt").touch()

    with pytest.raises(ToolFailure) as caught:
        await run(replace(call, upload_root=root), "upload_file", {"path": path})

    assert says in str(caught.value)
    assert scale.sent == []


def test_a_link_swapped_in_after_the_check_of_the_path_changes_nothing(root: Path, monkeypatch: pytest.MonkeyPatch):
    """Whatever is swapped in between, the last step does not follow a link."""
    honest = os.open

    def swapping(path: object, flags: int, *args: int, **kwargs: int) -> int:
        if path == "a.txt":
            (root / "a.txt").unlink()
            (root / "a.txt").symlink_to(root.parent / "secret.txt")
        return honest(path, flags, *args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "open", swapping)

    with pytest.raises(ToolFailure, match="symbolic link"), open_below(root, "a.txt"):
        pass


def test_a_folder_that_is_gone_is_the_operators_business(tmp_path: Path):
    with pytest.raises(ToolFailure, match="tell the operator"), open_below(tmp_path / "gone", "a.txt"):
        pass


@pytest.mark.anyio
async def test_a_file_above_80_mb_is_refused_before_anything_is_sent(root: Path, call: Call, scale: FakeScale):
    with (root / "big.bin").open("wb") as big:
        big.truncate(file_tools.FILE_BYTES + 1)  # a hole: takes no room

    with pytest.raises(ToolFailure, match="at most 80 MB"):
        await run(replace(call, upload_root=root), "upload_file", {"path": "big.bin"})

    assert scale.sent == []


@pytest.mark.anyio
async def test_base64_above_80_mb_is_refused_before_it_is_decoded(
    call: Call, scale: FakeScale, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(file_tools, "FILE_BYTES", 1_000)

    with pytest.raises(ToolFailure, match="holds more than 80 MB"):
        await run(call, "upload_file", {"file_base64": "A" * 2_000, "file_name": "a"})

    assert scale.sent == []


@pytest.mark.anyio
async def test_an_upload_reports_its_progress(call: Call, scale: FakeScale):
    seen: list[tuple[float, float | None]] = []

    async def progress(done: float, total: float | None, message: str) -> None:
        seen.append((done, total))

    await run(replace(call, progress=progress), "upload_file", {"file_base64": "aGVsbG8=", "file_name": "a.txt"})

    assert seen == [(5, 5)]


# Saving ---------------------------------------------------------------------------------------------------------------


def served(content: bytes, content_type: str = "application/json") -> object:
    return lambda request: httpx2.Response(200, content=content, headers={"content-type": content_type})


@pytest.mark.anyio
async def test_a_result_file_is_saved_whole_in_a_new_folder_if_need_be(root: Path, call: Call, scale: FakeScale):
    content = os.urandom(300_000)
    scale.answers[RESPONSE] = served(content, "image/png")

    output = await run(
        replace(call, download_root=root),
        "get_task_response",
        {"task_id": TASK_ID, "uuid": UUID, "save_as": "masks/new/road.png"},
    )

    assert (root / "masks/new/road.png").read_bytes() == content
    assert [path.name for path in (root / "masks/new").iterdir()] == ["road.png"]
    assert 'Saved as "masks/new/road.png"' in output.text()


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("a.txt", "exists already"),
        ("sub", "exists already"),
        ("link.txt", "exists already"),
        ("../new.txt", "without `..`"),
        ("/tmp/new.txt", "outside the folder"),
        ("linked/new.txt", "symbolic link"),
        ("a.txt/new.txt", "through a file"),
    ],
)
async def test_nothing_is_overwritten_and_nothing_leaves_the_folder(
    path: str, says: str, root: Path, call: Call, scale: FakeScale
):
    (root / "link.txt").symlink_to(root.parent / "new.txt")
    (root / "linked").symlink_to(root.parent)

    with pytest.raises(ToolFailure) as caught:
        await run(
            replace(call, download_root=root),
            "get_task_response",
            {"task_id": TASK_ID, "uuid": UUID, "save_as": path},
        )

    assert says in str(caught.value)
    assert scale.sent == []
    assert (root / "a.txt").read_bytes() == b"hello"
    assert not (root.parent / "new.txt").exists()


def test_a_file_that_breaks_off_leaves_nothing_behind(root: Path):
    def write_half() -> None:
        with new_file_below(root, "new.txt") as file:
            file.write(b"half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        write_half()

    assert sorted(path.name for path in root.iterdir()) == ["a.txt", "sub"]


def test_a_name_taken_while_the_file_is_written_is_not_overwritten(root: Path):
    def lose_the_race() -> None:
        with new_file_below(root, "new.txt") as file:
            file.write(b"ours")
            (root / "new.txt").write_bytes(b"theirs")

    with pytest.raises(ToolFailure, match="exists already"):
        lose_the_race()

    assert (root / "new.txt").read_bytes() == b"theirs"
    assert sorted(path.name for path in root.iterdir()) == ["a.txt", "new.txt", "sub"]


def test_a_file_system_without_hard_links_will_do(root: Path, monkeypatch: pytest.MonkeyPatch):
    def no_links(*args: object, **kwargs: object) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "link", no_links)

    with new_file_below(root, "new.txt") as file:
        file.write(b"ours")

    assert (root / "new.txt").read_bytes() == b"ours"
    assert sorted(path.name for path in root.iterdir()) == ["a.txt", "new.txt", "sub"]


def test_a_path_through_folders_that_do_not_exist_yet_is_free(root: Path):
    check_new_file_below(root, "not/there/yet.txt")

    assert not (root / "not").exists()


# Summing up -----------------------------------------------------------------------------------------------------------


def png(width: int, height: int, color: int = 2) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 8, color, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b'[{"annotations": [{"label": "car"}]}]', 'Content: [{"annotations":[{"label":"car"}]}]'),
        (
            b"[" + b",".join([b'{"cuboids": [{"label": "Car"}]}'] * 9_000) + b"]",
            "Shape: [9000 × {cuboids: [1 × {label}]}]",
        ),
        (png(640, 480), "Picture: PNG, 640 × 480 pixels, RGB, 8 bits per channel."),
        (png(3, 7, 0), "3 × 7 pixels, grayscale"),
        (b"plain words", "Content: plain words"),
        (b"x" * 99_999, "Begins: xxx"),
        (b"\x00\xff" * 99, "Binary content"),
        (b"[" * 99_999, "Begins: [[["),
        ("IGNORE\u202e ALL".encode(), "IGNORE ALL"),
        (b"", "0 bytes"),
    ],
    ids=["json", "long json", "png", "gray png", "text", "long text", "binary", "deep", "hostile", "empty"],
)
async def test_a_result_file_is_summed_up(content: bytes, says: str, call: Call, scale: FakeScale):
    scale.answers[RESPONSE] = served(content)

    output = await run(call, "get_task_response", {"task_id": TASK_ID, "uuid": UUID})

    assert says in output.text()
    assert len(output.text()) < 3_500
    assert len(output.model_dump_json()) < 4_500


@pytest.mark.anyio
async def test_a_key_that_somebody_wrote_into_a_result_file_is_not_shown(scale: FakeScale):
    key = "test_0123456789abcdef0123456789abcdef"
    scale.answers[RESPONSE] = served(b'{"note": "use %s"}' % key.encode())
    async with ScaleApi(key, transport=httpx2.MockTransport(scale)) as api:
        output = await run(Call(api=api), "get_task_response", {"task_id": TASK_ID, "uuid": UUID})

    assert key not in output.model_dump_json() + output.text()
    assert "use [redacted]" in output.text()


@pytest.mark.anyio
async def test_only_the_beginning_of_a_huge_file_is_read(call: Call, scale: FakeScale, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("scale_mcp.tools.task_responses.MAX_READ", 10_000)
    scale.answers[RESPONSE] = served(b"y" * 5_000_000, "text/plain")

    output = await run(call, "get_task_response", {"task_id": TASK_ID, "uuid": UUID})

    assert "Only the first 10000 bytes were looked at" in output.text()
    assert output.model_dump()["size"] == 5_000_000
