"""Results of single tools in a few words, for the line that shows the call."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

Json = dict[str, Any]


def all_done(got: Sequence[Json]) -> str:
    done, canceled = (sum(status[name] for status in got) for name in ("completed", "canceled"))
    return f"{len(got)} batches completed: {done} tasks done, {canceled} canceled"


def fetched(got: Json) -> str:
    """A result file in a few words: what kind of picture, or how many frames of what."""
    size = f"{got['size'] / 1000:,.1f} kB" if got.get("size") else "of unknown size"
    if got.get("picture"):
        width_and_height = ", ".join(got["picture"].split(", ")[:2])
        return f"{width_and_height}, {size}"
    frames = re.search(r"\[(\d+) × (?:{(\w+): )?\[(\d+) × ", got.get("outline") or "")
    if frames is None:
        return f"{got['content_type'].rpartition('/')[2].upper()}, {size}"
    return f"{frames[1]} frames, {frames[3]} {frames[2] or 'points'} in the first, {size}"


def scores(got: list[Json]) -> str:
    found = [attempt["score"] for attempt in got[0]["docs"]]
    return f"{len(found)} attempts, mean score {sum(found) / len(found):.2f}"


def short(email: str) -> str:
    return email.partition("@")[0]


def assigned(got: Json) -> str:
    people = [short(email) for email, projects in got["assignments"].items() if projects]
    return f"{' and '.join(people)} have work"


def in_order(got: Json) -> str:
    return " before ".join(entry["name"] for entry in got["docs"])
