"""Lists of any length: all of it, once, one page at a time, and never in a circle."""

from __future__ import annotations

from typing import Any

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scale_mcp.api import UnexpectedAnswer
from scale_mcp.api.pagination import by_offset, by_token
from scale_mcp.models.batches import BatchFilter
from scale_mcp.models.tasks import TaskFilter

from .scripted import no, ok, scale

pytestmark = pytest.mark.anyio


def run(steps: Any) -> Any:
    import anyio

    return anyio.run(steps)


@given(st.lists(st.lists(st.integers(), max_size=4), min_size=1, max_size=8), st.randoms())
def test_pages_by_token_give_every_item_in_order(pages: list[list[int]], dice: Any):
    tokens = dice.sample([f"token {n}" for n in range(100)], len(pages) - 1)
    steps = dict(zip([None, *tokens], zip(pages, [*tokens, None], strict=True), strict=True))

    async def fetch(token: str | None) -> tuple[list[int], str | None, bool]:
        items, following = steps[token]
        return items, following, following is not None

    async def collect() -> list[int]:
        return [item async for item in by_token(fetch)]

    assert run(collect) == [item for page in pages for item in page]


@given(st.integers(0, 12), st.integers(1, 12))
def test_tokens_in_a_circle_of_any_length_are_noticed(before: int, circle: int):
    fetched = 0

    async def fetch(token: str | None) -> tuple[list[int], str | None, bool]:
        nonlocal fetched
        fetched += 1
        number = int(token or 0)
        following = number + 1 if number < before + circle - 1 else before
        return [number], str(following or "first"), True

    async def fetch_named(token: str | None) -> tuple[list[int], str | None, bool]:
        return await fetch(None if token in (None, "first") else token)

    async def collect() -> None:
        async for _ in by_token(fetch_named):
            pass

    with pytest.raises(UnexpectedAnswer, match="circle"):
        run(collect)
    assert fetched <= 4 * (before + circle) + 4


@given(st.integers(0, 30), st.integers(1, 7), st.lists(st.integers(0, 6), max_size=12))
def test_pages_by_offset_give_every_item_once_though_new_ones_push_in_front(
    total: int, limit: int, arrivals: list[int]
):
    shelf = list(range(total))
    coming = iter(arrivals)

    async def fetch(offset: int) -> tuple[list[int], bool]:
        page = shelf[offset : offset + limit]
        more = offset + limit < len(shelf)
        new = min(next(coming, 0), limit)
        shelf[:0] = [-1 - len(shelf) - n for n in range(new)]  # newest first
        return page, more

    async def collect() -> list[int]:
        return [item async for item in by_offset(fetch, key=lambda item: item)]

    seen = run(collect)
    assert [item for item in seen if item >= 0] == list(range(total))


async def test_tasks_are_fetched_page_by_page_as_they_are_used():
    pages = [
        ok({"docs": [{"task_id": "1"}, {"task_id": "2"}], "has_more": True, "next_token": "t/1"}),
        ok({"docs": [{"task_id": "3"}], "has_more": False}),
    ]
    api, script = scale(pages)
    seen = []
    async for task in api.tasks.iterate(TaskFilter(project="p")):
        seen.append((task.task_id, len(script.requests)))

    assert seen == [("1", 1), ("2", 1), ("3", 2)]
    assert script.lines[1] == "GET /v1/tasks?project=p&limit=100&next_token=t%2F1"


async def test_an_empty_token_ends_a_list():
    api, script = scale(ok({"docs": [{"task_id": "1"}], "has_more": False, "next_token": ""}))

    assert [task.task_id async for task in api.tasks.iterate(TaskFilter())] == ["1"]
    assert len(script.requests) == 1


async def test_an_empty_last_page_ends_a_list_even_if_it_names_a_token():
    api, script = scale(ok({"docs": [], "has_more": False, "next_token": "t"}))

    assert [task async for task in api.tasks.iterate(TaskFilter())] == []
    assert len(script.requests) == 1


async def test_more_without_a_token_is_an_error_rather_than_a_short_list():
    api, _ = scale(ok({"docs": [{"task_id": "1"}], "has_more": True}))
    with pytest.raises(UnexpectedAnswer, match="goes on"):
        [task async for task in api.tasks.iterate(TaskFilter())]


async def test_a_trouble_between_pages_is_retried():
    first = ok({"docs": [{"task_id": "1"}], "has_more": True, "next_token": "t"})
    api, script = scale([first, no(503), httpx2.ReadError("reset"), ok({"docs": [{"task_id": "2"}]})])

    assert [task.task_id async for task in api.tasks.iterate(TaskFilter())] == ["1", "2"]
    assert len(script.requests) == 4


async def test_batches_go_by_offset_in_either_spelling():
    pages = [
        ok({"docs": [{"name": "a"}, {"name": "b"}], "totalDocs": 3, "has_more": True}),
        ok({"docs": [{"name": "c"}], "total": 3, "hasNextPage": False}),
    ]
    api, script = scale(pages)

    assert [batch.name async for batch in api.batches.iterate(BatchFilter(project="p"))] == ["a", "b", "c"]
    assert script.lines[1] == "GET /v1/batches?project=p&limit=100&offset=2"


async def test_an_empty_page_that_promises_more_ends_a_list_by_offset():
    api, script = scale(ok({"docs": [], "has_more": True}))

    assert [batch async for batch in api.batches.iterate(BatchFilter())] == []
    assert len(script.requests) == 1


@pytest.mark.parametrize("name", ["cursor", "next_token"])
async def test_files_go_by_cursor_in_either_spelling(name: str):
    api, script = scale([ok({"docs": [{"id": "1"}], "has_more": True, name: "c"}), ok({"docs": [{"id": "2"}]})])

    assert [file.id async for file in api.files.iterate("p", {"cam": 3})] == ["1", "2"]
    assert script.lines[1].endswith("&cursor=c")


async def test_a_cursor_that_is_still_named_on_the_last_page_is_not_followed():
    api, script = scale(ok({"docs": [{"id": "1"}], "has_more": False, "cursor": "same"}))

    assert [file.id async for file in api.files.iterate("p")] == ["1"]
    assert len(script.requests) == 1


async def test_a_cursor_alone_is_followed():
    api, _ = scale([ok({"docs": [{"id": "1"}], "cursor": "c"}), ok({"docs": [{"id": "2"}]})])

    assert [file.id async for file in api.files.iterate("p")] == ["1", "2"]
