"""The parameters of a task: which belong to the task and which to ``params``, what is required, what is refused.

Checks are made on the merged result, the project's defaults below the request, and follow what the reference knows;
where it knows nothing, anything passes and is kept.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from scale_mcp.models.limits import TAGS, TASK_METADATA_BYTES
from scale_mcp.sandbox import decisions
from scale_mcp.sandbox.http import ApiError, invalid, required
from scale_mcp.sandbox.store import dumps
from scale_mcp.sandbox.task_types import ATTACHED, TaskType

PRIORITIES = (10, 20, 30)

# Members of the task itself; everything else in a request is kept in ``params``.
OF_THE_TASK = frozenset(
    {
        *("callback_url", "instruction", "metadata", "unique_id", "clear_unique_id_on_error", "project", "batch"),
        *("project_version", "tags", "priority", "urgency"),
    }
)
GEOMETRIES = ("box", "polygon", "line", "point", "ellipse", "cuboid")
LISTS = ("attachments", "labels", "features", "objects_to_annotate", "categories", "choices", "events_to_annotate")
OBJECTS = ("geometries", "annotation_attributes", "links", "hypothesis", "base_annotations", "global_attributes")


def check(kind: TaskType, merged: dict[str, Any]) -> None:
    """Refuse a request that lacks something or holds nonsense: 400 with Scale's kind of text."""
    _check_required(kind, merged)
    check_common(merged)
    check_shapes(kind, merged)


def with_defaults(kind: TaskType, merged: dict[str, Any]) -> dict[str, Any]:
    """The merged parameters with the type's defaults, and those that depend on what was given."""
    filled = {**kind.defaults, **merged}
    if kind.name == "videoannotation":
        filled.setdefault("attachment_type", "image" if filled.get("attachments") else "video")
    if kind.name == "lidarsegmentation" and "lidar_task" not in filled:
        filled = {"attachment_type": "json", "meters_per_unit": 1, **filled}
    if kind.instruction is not None:
        filled.setdefault("instruction", kind.instruction)
    return filled


def _check_required(kind: TaskType, merged: dict[str, Any]) -> None:
    for need in kind.required:
        names = (need,) if isinstance(need, str) else need
        if any(_given(merged.get(name)) for name in names):
            continue
        if names[0] == "attachment":
            raise ApiError(400, "Please include an attachment or attachments parameter.")
        raise required(names[0]) if len(names) == 1 else invalid(f'"{names[0]}" or "{names[1]}" is required')


def _given(value: Any) -> bool:
    return value is not None and value not in ("", [], {})


def check_common(merged: dict[str, Any]) -> None:
    """The parameters that every task type shares."""
    for name in ("project", "batch", "unique_id", "instruction", "callback_url", "urgency"):
        if name in merged and not isinstance(merged[name], str):
            raise invalid(f'"{name}" must be a string')
    for name in ("unique_id", "project", "batch"):
        if merged.get(name) == "":
            raise invalid(f'"{name}" is not allowed to be empty')
    if "callback_url" in merged:
        callback_url(merged["callback_url"], "callback_url")
    if "metadata" in merged:
        metadata(merged["metadata"])
    if "tags" in merged:
        tags(merged["tags"])
    if "priority" in merged and whole(merged["priority"]) not in PRIORITIES:
        raise invalid('"priority" must be one of [10, 20, 30]')
    if "project_version" in merged and whole(merged["project_version"]) is None:
        raise invalid('"project_version" must be an integer')


def whole(value: Any) -> int | None:
    """An integer, also when written as a string (the API is lenient there), or None."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        return int(value) if abs(value) < 10**9 and value == int(value) else None
    return int(value) if isinstance(value, str) and re.fullmatch(r"-?\d{1,9}", value) else None


def callback_url(value: Any, name: str) -> str:
    """A URL with a scheme, an e-mail address, or the empty string; else 400."""
    if not isinstance(value, str) or not (value == "" or re.match(r"https?://[^/\s]", value) or _is_email(value)):
        raise invalid(f'"{name}" must be a valid URL with a scheme, or an e-mail address')
    return value


def _is_email(value: str) -> bool:
    return re.fullmatch(r"[^@\s/:]+@[^@\s/:]+\.[^@\s/:]+", value) is not None


def metadata(value: Any) -> dict[str, Any]:
    """Customer data: an object of at most 10 kB; else 400."""
    if not isinstance(value, dict):
        raise invalid('"metadata" must be an object')
    if len(dumps(value).encode(errors="surrogatepass")) > TASK_METADATA_BYTES:
        raise invalid('"metadata" must not be larger than 10 KB')
    return value


def tags(value: Any) -> list[str]:
    """Tags without repeats, in order; 400 for anything but non-empty strings, and for more than five."""
    if not isinstance(value, list) or not all(isinstance(tag, str) and tag for tag in value):
        raise invalid('"tags" must be an array of non-empty strings')
    unique = list(dict.fromkeys(value))
    if len(unique) > TAGS:
        raise invalid(f'"tags" must hold at most {TAGS} tags')
    return unique


def check_shapes(kind: TaskType, params: dict[str, Any]) -> None:
    """The form of what is given; nothing needs to be given (projects have partial params)."""
    for name in LISTS:
        if name in params and not isinstance(params[name], list):
            raise invalid(f'"{name}" must be an array')
    for name in OBJECTS:
        if name in params and not isinstance(params[name], dict | (list if name == "base_annotations" else dict)):
            raise invalid(f'"{name}" must be an object')
    if "attachment" in params and not isinstance(params["attachment"], str):
        raise invalid('"attachment" must be a string')
    _check_geometries(params)
    if kind.name != "namedentityrecognition":
        for name in ("labels", "objects_to_annotate"):
            _check_labels(params.get(name, ()), name)
    checker = SPECIAL.get(kind.name)
    if checker is not None:
        checker(params)


def _check_geometries(params: dict[str, Any]) -> None:
    for name, options in params.get("geometries", {}).items():
        if name not in GEOMETRIES:
            raise invalid(f'"geometries.{name}" is not allowed')
        if not isinstance(options, dict):
            raise invalid(f'"geometries.{name}" must be an object')
        labels = options.get("objects_to_annotate", [])
        if not isinstance(labels, list):
            raise invalid(f'"geometries.{name}.objects_to_annotate" must be an array')
        if name == "point" and not labels:
            raise required("geometries.point.objects_to_annotate")
        _check_labels(labels, f"geometries.{name}.objects_to_annotate")


def _check_labels(labels: Iterable[Any], name: str) -> None:
    """Strings, or objects with a ``choice`` and perhaps nested ``subchoices``."""
    pending = list(labels)
    while pending:
        label = pending.pop()
        if isinstance(label, str) and label:
            continue
        if not isinstance(label, dict) or not isinstance(label.get("choice"), str) or not label["choice"]:
            raise invalid(f'"{name}" must hold strings, or objects with a "choice"')
        subchoices = label.get("subchoices") or []
        if not isinstance(subchoices, list):
            raise invalid(f'"{name}" has "subchoices" that are not an array')
        pending += subchoices


def _check_image(params: dict[str, Any]) -> None:
    context = params.get("context_attachments", [])
    if not isinstance(context, list) or not all(isinstance(item, dict) and item.get("attachment") for item in context):
        raise invalid('"context_attachments" must be an array of objects with an "attachment"')
    if any(item["attachment"] == params.get("attachment") for item in context):
        raise invalid('"context_attachments" must not repeat the attachment of the task')
    if "hypothesis" in params and "geometries" in params:
        annotations = params["hypothesis"].get("annotations")
        if not isinstance(annotations, list) or not all(isinstance(item, dict) for item in annotations):
            raise invalid('"hypothesis.annotations" must be an array of objects')
        for item in annotations:
            if item.get("type") not in params["geometries"]:
                raise invalid(
                    f'"hypothesis" has an annotation of the type "{item.get("type")}", which is not asked for'
                )


def _check_video(params: dict[str, Any]) -> None:
    if params.get("attachment_type") not in (None, "image", "video"):
        raise invalid('"attachment_type" must be one of [image, video]')
    if params.get("attachment_type") == "video" and "attachments" in params:
        raise invalid('"attachments" is not allowed when "attachment_type" is "video"')
    if params.get("attachment_type") == "image" and "attachment" in params and "attachments" not in params:
        raise required("attachments")


def _check_entities(params: dict[str, Any]) -> None:
    if "text" in params and not isinstance(params["text"], str):
        raise invalid('"text" must be a string')
    for label in params.get("labels", ()):
        name = label.get("name") if isinstance(label, dict) else label  # decisions.ENTITY_LABELS
        if not isinstance(name, str) or not name:
            raise invalid('"labels" must be an array of strings, or of objects with a "name"')
    relationships = params.get("relationships", [])
    if not isinstance(relationships, list) or not all(isinstance(each, dict) for each in relationships):
        raise invalid('"relationships" must be an array of objects')
    if any(not each.get("source_label") or not each.get("target_label") for each in relationships):
        raise invalid('every relationship needs "source_label" and "target_label"')
    if len({bool(each.get("name")) for each in relationships}) > 1:
        raise invalid('either all relationships have a "name" or none has')


def _check_collection(params: dict[str, Any]) -> None:
    for item in params.get("attachments", ()):
        if not isinstance(item, dict) or not item.get("type") or "content" not in item:
            raise invalid('"attachments" must be an array of objects with "type" and "content"')
    fields = params.get("fields", [])
    if not isinstance(fields, list) or not all(isinstance(each, dict) for each in fields):
        raise invalid('"fields" must be an array of objects')
    seen: set[Any] = set()
    for each in fields:
        for name in ("field_id", "type"):
            if not isinstance(each.get(name), str) or not each[name]:
                raise required(f"fields.{name}")
        if each["field_id"] in seen:
            raise invalid(f'the field_id "{each["field_id"]}" occurs twice in "fields"')
        seen.add(each["field_id"])
    responses = whole(params.get("responses_required", 1))
    if responses is None or responses < 1:
        raise invalid('"responses_required" must be a positive integer')


def _check_document(params: dict[str, Any]) -> None:
    for each in params.get("features", ()):
        if not isinstance(each, dict) or not each.get("type") or not each.get("label"):
            raise invalid('"features" must be an array of objects with "type" and "label"')


SPECIAL = {
    "imageannotation": _check_image,
    "videoannotation": _check_video,
    "namedentityrecognition": _check_entities,
    "textcollection": _check_collection,
    "documenttranscription": _check_document,
}


def attachments_of(params: Mapping[str, Any]) -> list[str]:
    """The addresses of what is to be labelled, in order."""
    found: list[str] = []
    for name in ATTACHED:
        value = params.get(name)
        for item in value if isinstance(value, list) else [value]:
            address = item.get("content") or item.get("attachment") if isinstance(item, dict) else item
            if isinstance(address, str):
                found.append(address)
    return found


def project_params(kind: TaskType, value: Any) -> dict[str, Any]:
    """Default params of a project: an object without nulls, of the right forms, or 400."""
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise invalid('"params" must be an object')
    given = {
        name: each for name, each in value.items() if each is not None and name not in decisions.NEVER_IN_PARAMS.value
    }
    check_common(given)
    check_shapes(kind, given)
    return given
