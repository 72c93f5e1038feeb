"""The data set put through the whole sandbox: uploaded, worked on by the clock, and read back over HTTP."""

from __future__ import annotations

from typing import Any

import httpx2
import pytest

from scale_mcp.sandbox import Sandbox
from scale_mcp.sandbox.data import catalog
from tests.sandbox.calls import ok
from tests.sandbox.world import item

pytestmark = pytest.mark.anyio
WEEK = 7 * 86_400.0


async def uploaded(client: httpx2.AsyncClient, name: str) -> list[str]:
    """The ``scaledata://`` addresses of an item's files."""
    addresses = []
    for path in item(name).paths:
        fields = {"project_name": "world"}
        answer = await ok(client.post("/files/upload", data=fields, files={"file": (path.name, path.read_bytes())}))
        addresses.append(answer["attachment_url"])
    return addresses


async def done(sandbox: Sandbox, client: httpx2.AsyncClient, kind: str, **params: Any) -> dict[str, Any]:
    """A task of this kind after the workforce has finished it."""
    made = await ok(client.post(f"/task/{kind}", json=params))
    await sandbox.advance(WEEK)
    found: dict[str, Any] = await ok(client.get(f"/task/{made['task_id']}"))
    assert found["status"] == "completed"
    return found


@pytest.fixture(autouse=True)
async def _project(live: httpx2.AsyncClient) -> None:
    await ok(live.post("/projects", json={"name": "world", "type": "imageannotation"}))


async def test_an_uploaded_picture_of_the_data_set_comes_back_labelled(
    sandbox: Sandbox, live: httpx2.AsyncClient
) -> None:
    (address,) = await uploaded(live, "coins")

    task = await done(sandbox, live, "imageannotation", attachment=address, **item("coins").tasks["imageannotation"])

    assert len(task["response"]["annotations"]) >= 20
    assert task["simulation"]["fixture"] == "coins"
    assert task["simulation"]["worker"].endswith("@example.com")
    assert task["simulation"]["mean_iou"] > 0.8


async def test_masks_are_fetched_from_the_sandbox(sandbox: Sandbox, live: httpx2.AsyncClient) -> None:
    (address,) = await uploaded(live, "horse")

    task = await done(sandbox, live, "segmentannotation", attachment=address, labels=["horse"])

    answer = await live.get(task["response"]["annotations"]["combined"]["indexedImage"])
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "image/png"


async def test_a_lidar_task_and_the_segmentation_built_on_it_share_their_cuboids(
    sandbox: Sandbox, live: httpx2.AsyncClient
) -> None:
    frames = await uploaded(live, "street")
    first = await done(
        sandbox, live, "lidarannotation", attachments=frames, attachment_type="json", labels=["car", "truck"]
    )

    second = await done(
        sandbox, live, "lidarsegmentation", lidar_task=first["task_id"], lidar_task_frames=[0, 2], labels=["car"]
    )

    cuboids = (await live.get(first["response"]["annotations"]["url"])).json()
    assert (await live.get(second["response"]["annotations"]["url"])).json() == [cuboids[0], cuboids[2]]
    points = (await live.get(second["response"]["point_segmentations"]["url"])).json()["point_objects"]
    assert [max(frame) for frame in points] == [1, 1]


async def test_a_picture_nobody_knows_comes_back_without_annotations(
    sandbox: Sandbox, live: httpx2.AsyncClient
) -> None:
    task = await done(
        sandbox,
        live,
        "imageannotation",
        attachment="https://example.com/mine.jpg",
        geometries={"box": {"objects_to_annotate": ["car"]}},
    )

    assert task["response"] == {"annotations": [], "global_attributes": {}, "links": []}
    assert task["simulation"]["truth"] == "none"


async def test_the_finished_cuboids_of_one_task_can_be_the_prelabels_of_another(
    sandbox: Sandbox, live: httpx2.AsyncClient
) -> None:
    frames = await uploaded(live, "street")
    asked = {"attachment_type": "json", "labels": ["car"]}
    first = await done(sandbox, live, "lidarannotation", attachments=frames, **asked)

    second = await done(
        sandbox,
        live,
        "lidarannotation",
        attachments=["https://example.com/0.json"],
        hypothesis=first["response"],
        **asked,
    )

    assert second["simulation"]["truth"] == "hypothesis"
    assert len((await live.get(second["response"]["annotations"]["url"])).json()) == len(frames)


@pytest.mark.parametrize("name", [one.name for one in catalog() if one.kind != "text"])
async def test_every_file_of_the_data_set_can_be_uploaded(live: httpx2.AsyncClient, name: str) -> None:
    assert all(address.startswith("scaledata://") for address in await uploaded(live, name))
