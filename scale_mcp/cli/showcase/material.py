"""The demo's material: the sandbox's shipped data set, by what each item can be used for."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from scale_mcp.sandbox.data import Picture, catalog


def folder() -> Path:
    """Where the shipped files lie; the server may upload from there."""
    return catalog()[0].path.parent


def fit_for(task_type: str, most: int = 1) -> list[Picture]:
    """Items whose truth can answer tasks of this type."""
    return [one for one in catalog() if task_type in one.tasks][:most]


def item(name: str) -> Picture:
    """The item of this name."""
    return next(one for one in catalog() if one.name == name)


def parameters(of: Picture, task_type: str) -> dict[str, Any]:
    """The parameters of such a task, without its attachment."""
    return dict(of.tasks[task_type])


def files(items: Iterable[Picture]) -> list[Path]:
    """The files of some items, each once."""
    return list(dict.fromkeys(path for one in items for path in one.paths))


def true_boxes(of: Picture) -> list[dict[str, Any]]:
    """The true boxes of a picture's objects, in Scale's fields."""
    truth = of.truth.picture
    return [dict(one.shapes["box"]) for one in (truth.objects if truth else ()) if "box" in one.shapes]


def labels_of(of: Picture) -> list[str]:
    """What an image annotation task about this picture asks for, subchoices in place of their group."""
    geometries = parameters(of, "imageannotation")["geometries"]
    asked = [label for shape in geometries.values() for label in shape["objects_to_annotate"]]
    names = [
        name
        for label in asked
        for name in (label.get("subchoices", [label["choice"]]) if isinstance(label, dict) else [label])
    ]
    return list(dict.fromkeys(names))
