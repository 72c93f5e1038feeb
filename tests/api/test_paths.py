"""Whatever a project, batch or id is called, it stays one segment of its path."""

from __future__ import annotations

from urllib.parse import unquote

import httpx2
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from scale_mcp.api import RefusedBeforeSending
from scale_mcp.api.paths import build_path

NAMES = st.text(st.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp"]), min_size=1, max_size=60)
TEMPLATE = "/studio/projects/{project_name}/groups/{group_name}"


@given(NAMES, NAMES)
@example("../../task/65f0", "a/b")
@example("%2e%2e", "%2F..%2F")
@example("a?b#c;d\\e", "ä €😀")
@example("{group_name}", "{}")
@example("...", "~")
def test_segments_arrive_decoded_as_they_were_given_and_the_template_holds(project: str, group: str):
    assume(project.strip() and group.strip() and project not in (".", "..") and group not in (".", ".."))

    path = build_path(TEMPLATE, {"project_name": project, "group_name": group})
    sent = httpx2.URL("https://api.scale.com/v1" + path).raw_path.decode()

    before, studio, projects, first, groups, second = sent.removeprefix("/v1").split("/")
    assert (before, studio, projects, groups) == ("", "studio", "projects", "groups")
    assert (unquote(first), unquote(second)) == (project, group)
    assert "?" not in sent
    assert "#" not in sent


@pytest.mark.parametrize(
    "name", ["", " ", "\t", ".", "..", "a\nb", "a\x00", "a\x7f", "a\u0085b", "a\u2028b", "\ud800", "x" * 1001]
)
def test_a_segment_that_cannot_be_a_name_is_refused_with_the_cure(name: str):
    with pytest.raises(RefusedBeforeSending, match=r"batch name") as caught:
        build_path("/batches/{batch_name}", {"batch_name": name})

    assert caught.value.next_step


def test_a_segment_that_is_no_text_is_refused():
    with pytest.raises(RefusedBeforeSending):
        build_path("/task/{task_id}", {"task_id": None})  # type: ignore[dict-item]
