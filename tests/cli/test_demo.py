"""The demo, as a person and as a machine sees it."""

import json

import anyio
import httpx2
import pytest

from scale_mcp.cli.showcase.reading import agreement, all_answered, counted, outlines, overlap, uuids
from scale_mcp.cli.showcase.receiver import Receiver, listening
from scale_mcp.cli.showcase.session import CallFailed, Line, Session
from scale_mcp.cli.showcase.stages import Demonstration

from .conftest import run


@pytest.fixture(scope="module")
def machine_readable() -> "dict[str, object]":
    done = run("demo", "--json", timeout=150)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    result: dict[str, object] = json.loads(done.stdout)
    return result


def test_every_tool_is_called_and_every_call_goes_well(machine_readable: "dict[str, object]") -> None:
    tools = machine_readable["tools"]
    assert isinstance(tools, dict)
    assert len(tools) == 46
    assert machine_readable["ok"] is True
    for name, tool in tools.items():
        assert tool["calls"] > 0, name
        assert tool["ok"] is True, name
        assert tool["result"], name
        assert tool["milliseconds"] > 0, name


def test_the_record_tells_of_callbacks_types_and_time(machine_readable: "dict[str, object]") -> None:
    assert machine_readable["callbacks"]["refused"] == 0  # type: ignore[index]
    assert machine_readable["callbacks"]["received"] >= 20  # type: ignore[index]
    created = {line["tool"] for line in machine_readable["lines"] if line["tool"].startswith("create_")}  # type: ignore[index,attr-defined]
    assert len([tool for tool in created if tool.endswith("_task")]) >= 10
    assert machine_readable["seconds"] < 20  # type: ignore[operator]


def test_without_a_terminal_it_prints_plain_lines_and_the_closing_table() -> None:
    done = run("demo", timeout=150, SCALE_MCP_NONSENSE="1", SCALE_API_KEY="somebody's")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "\x1b[" not in done.stdout + done.stderr
    assert "8. Run a Studio" in done.stderr
    assert "against the truth checked by hand" in done.stderr
    assert "46 of 46 tools" in done.stdout
    assert "create_video_playback_annotation_task" in done.stdout


@pytest.mark.anyio
async def test_the_receiver_takes_only_what_carries_the_secret() -> None:
    async with listening("secret") as receiver, httpx2.AsyncClient() as client:
        for headers, status in (({}, 401), ({"scale-callback-auth": "wrong"}, 401)):
            assert (await client.post(receiver.url, json={"task_id": "a"}, headers=headers)).status_code == status
        good = {"scale-callback-auth": "secret"}
        assert (await client.post(receiver.url, content=b"{", headers=good)).status_code == 400
        assert receiver.received == []
        assert receiver.refused == 2
        async with anyio.create_task_group() as group:
            group.start_soon(receiver.wait, lambda: bool(receiver.tasks()), 10)
            await client.post(receiver.url, json={"task_id": "a", "task": {}}, headers=good)
            await client.post(receiver.url, json={"name": "b", "status": "completed"}, headers=good)
        assert (receiver.tasks(), receiver.batches()) == ({"a"}, {"b"})


class Refusing:
    """A client whose tools all fail."""

    async def call_tool(self, name: str, arguments: object) -> object:
        raise RuntimeError("connection lost")


@pytest.mark.anyio
async def test_a_call_that_fails_ends_the_demo_and_stays_in_the_record() -> None:
    from scale_mcp.cli.showcase.screen import Nowhere

    session = Session(Refusing(), Nowhere())  # type: ignore[arg-type]
    with pytest.raises(CallFailed, match="create_project: connection lost"):
        await Demonstration(session, Receiver("secret"), None, None).set_up()  # type: ignore[arg-type]
    assert session.by_tool()["create_project"].ok is False


def test_the_record_of_a_tool_adds_up_and_shows_the_failure() -> None:
    session = Session(None, None)  # type: ignore[arg-type]
    session.lines = [
        Line("a", "get_task", 2, 0.5, ok=True, note="first"),
        Line("b", "get_task", 1, 0.5, ok=True, note="second"),
        Line("c", "list_tasks", 1, 0.1, ok=True, note="fine"),
        Line("c", "list_tasks", 1, 0.1, ok=False, note="broken"),
    ]
    tools = session.by_tool()
    assert (tools["get_task"].calls, tools["get_task"].seconds, tools["get_task"].note) == (3, 1.0, "first")
    assert (tools["list_tasks"].ok, tools["list_tasks"].note) == (False, "broken")


def test_overlap_is_intersection_over_union_and_zero_apart() -> None:
    assert overlap((0, 0, 10, 10), (0, 0, 10, 10)) == 1
    assert overlap((0, 0, 10, 10), (5, 0, 15, 10)) == pytest.approx(1 / 3)
    assert overlap((0, 0, 10, 10), (10, 0, 20, 10)) == 0


def test_agreement_matches_each_label_once() -> None:
    truth = [{"left": 0, "top": 0, "width": 10, "height": 10}, {"left": 50, "top": 50, "width": 10, "height": 10}]
    twice = [truth[0], {**truth[0], "left": 1}]
    assert agreement(twice, truth) == (1, 2, 1.0)
    assert agreement([], truth) == (0, 2, 0.0)


def test_responses_are_told_in_a_few_words() -> None:
    assert counted([{"label": "coin"}, {"label": "coin"}, {"label": "cat"}]) == "coin ×2, cat"
    assert counted([]) == "no labels"
    linked = {"response": {"annotations": {"url": "http://h/v1/task/1/response_url/ab-1"}}}
    assert uuids(linked) == ["ab-1"]
    assert all_answered([linked, linked]) == "2 result files"
    assert all_answered([{"response": {"annotations": {"price": {"response": [["34"]]}}}}]) == "price: 34"
    assert all_answered([{}]) == "empty responses"


def test_outlines_follow_boxes_polygons_and_ellipses() -> None:
    ends = [{"x": 5, "y": 0}, {"x": 10, "y": 3}, {"x": 5, "y": 6}, {"x": 0, "y": 3}]
    box, ellipse = outlines(
        [
            {"label": "a", "left": 0, "top": 0, "width": 2, "height": 1},
            {"label": "b", "type": "ellipse", "vertices": ends},
        ]
    )
    assert box[0] == [(0, 0), (2, 0), (2, 1), (0, 1)]
    assert len(ellipse[0]) == 48
    assert all(((x - 5) / 5) ** 2 + ((y - 3) / 3) ** 2 == pytest.approx(1) for x, y in ellipse[0])
    assert box[1] != ellipse[1]
