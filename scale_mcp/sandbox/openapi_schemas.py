"""The shapes of Scale's resources for the OpenAPI document, in a shorthand that reads like a table.

A field is ``name type``; a star after the name means required. Types: ``string``, ``time``, ``integer``, ``number``,
``boolean``, ``object``, ``any``, a list of words joined by bars, the name of another schema, and ``[]`` for arrays.
Objects stay open: Scale adds fields, and takes parameters that nobody has written down.
"""

from __future__ import annotations

from typing import Any

Schema = dict[str, Any]

PLAIN: dict[str, Schema] = {
    "string": {"type": "string"},
    "time": {"type": "string", "format": "date-time"},
    "integer": {"type": "integer"},
    "number": {"type": "number"},
    "boolean": {"type": "boolean"},
    "object": {"type": "object", "additionalProperties": True},
    "binary": {"type": "string", "format": "binary"},
    "any": {},
}


def type_of(word: str) -> Schema:
    """The schema of a type in the shorthand."""
    if word.endswith("[]"):
        return {"type": "array", "items": type_of(word[:-2])}
    if "|" in word:
        return {"type": "string", "enum": word.split("|")}
    if word in PLAIN:
        return dict(PLAIN[word])
    return {"$ref": f"#/components/schemas/{word}"}


def record(*fields: str, about: str = "") -> Schema:
    """An object of the given fields, open for more."""
    properties: dict[str, Schema] = {}
    required: list[str] = []
    for each in fields:
        name, word = each.split(" ", 1)
        if name.endswith("*"):
            name = name[:-1]
            required.append(name)
        properties[name] = type_of(word)
    schema: Schema = {"type": "object", "properties": properties, "additionalProperties": True}
    if required:
        schema["required"] = required
    if about:
        schema["description"] = about
    return schema


# What every request that creates a task takes besides the parameters of its type.
COMMON = (
    "project string",
    "batch string",
    "instruction string",
    "callback_url string",
    "metadata object",
    "priority integer",
    "unique_id string",
    "clear_unique_id_on_error boolean",
    "tags string[]",
    "project_version integer",
)

IMAGE = ("attachment string", "attachment_type string", "annotation_attributes object", "hypothesis object")
LEGACY_IMAGE = ("attachment string", "attachment_type string", "objects_to_annotate Label[]", "with_labels boolean")

# Parameters by task type, as far as they are known. None is required here: any may come from the project instead.
PARAMETERS: dict[str, tuple[str, ...]] = {
    "imageannotation": (
        *IMAGE,
        "geometries object",
        "links object",
        "context_attachments object[]",
        "padding integer",
        "paddingX integer",
        "paddingY integer",
        "base_annotations object",
        "can_add_base_annotations boolean",
        "can_edit_base_annotations boolean",
        "can_edit_base_annotation_labels boolean",
        "can_delete_base_annotations boolean",
    ),
    "segmentannotation": (*IMAGE, "labels Label[]", "allow_unlabeled boolean", "instance_labels string[]"),
    "videoannotation": (
        "attachment string",
        "attachments string[]",
        "attachment_type string",
        "geometries object",
        "annotation_attributes object",
        "events_to_annotate Label[]",
        "frame_rate number",
        "start_time number",
        "duration_time number",
        "hypothesis object",
        "base_annotations object",
    ),
    "videoplaybackannotation": (
        "attachment string",
        "attachments string[]",
        "attachment_type string",
        "geometries object",
        "annotation_attributes object",
        "events_to_annotate Label[]",
        "frame_rate number",
        "annotation_frame_rate number",
        "video_frame_rate number",
        "hypothesis object",
    ),
    "lidarannotation": (
        "attachments string[]",
        "attachment_type string",
        "labels Label[]",
        "meters_per_unit number",
        "max_distance_meters number",
        "annotation_attributes object",
        "hypothesis object",
        "base_annotations object",
    ),
    "lidarsegmentation": (
        "attachments string[]",
        "attachment_type string",
        "labels Label[]",
        "lidar_task string",
        "lidar_task_frames integer[]",
    ),
    "lidartopdown": ("attachment string", "attachments string[]", "geometries object"),
    "documenttranscription": (
        "attachment string",
        "attachments string[]",
        "features object[]",
        "hypothesis object",
    ),
    "namedentityrecognition": (
        "text string",
        "labels EntityLabel[]",
        "relationships object[]",
        "global_attributes object",
        "hypothesis object",
    ),
    "textcollection": (
        "attachments object[]",
        "fields object[]",
        "title string",
        "description string",
        "responses_required integer",
        "hypothesis object",
    ),
    "categorization": (
        "attachment string",
        "attachment_type string",
        "categories string[]",
        "allow_multiple boolean",
    ),
    "comparison": ("attachments string[]", "attachment_type string", "choices string[]"),
    "transcription": ("attachment string", "attachment_type string", "fields object", "repeatable_fields object"),
    "datacollection": ("attachment string", "attachment_type string", "fields object"),
    "audiotranscription": ("attachment string", "attachment_type string", "verbatim boolean"),
    "annotation": (*LEGACY_IMAGE, "min_width integer", "min_height integer"),
    "polygonannotation": LEGACY_IMAGE,
    "lineannotation": (*LEGACY_IMAGE, "splines boolean"),
    "pointannotation": LEGACY_IMAGE,
    "cuboidannotation": (*LEGACY_IMAGE, "camera_intrinsics object", "camera_height number"),
}
COMPONENTS: dict[str, Schema] = {
    "Error": record("status_code* integer", "error* string", about="Every refusal."),
    "Choice": record(
        *("choice* string", "display string", "description string", "instance_label boolean"),
        "subchoices any[]",
        about="A label with more to say. Subchoices are labels again; then only leaves are returned.",
    ),
    "Label": {"oneOf": [type_of("string"), type_of("Choice")], "description": "A label, plain or with its choices."},
    "NamedLabel": record("name* string", "description string", "display_name string", "children EntityLabel[]"),
    "EntityLabel": {"oneOf": [type_of("string"), type_of("NamedLabel")], "description": "A kind of entity."},
    "Audit": record(
        "audited_by string", "audited_at time", "audit_time_secs number", "audit_result string", "comments string"
    ),
    "Task": record(
        "task_id* string",
        "type* string",
        "status* pending|completed|canceled|error",
        "created_at* time",
        "updated_at time",
        "completed_at time",
        "instruction string",
        "params* object",
        "response object",
        "metadata* object",
        "is_test* boolean",
        "urgency string",
        "project string",
        "batch string",
        "callback_url string",
        "callback_succeeded boolean",
        "unique_id string",
        "tags string[]",
        "priority integer",
        "project_param_version integer",
        "work_started boolean",
        "customer_review_status pending|accepted|fixed|commented|rejected",
        "audits Audit[]",
        "document_pages object[]",
        about="One unit of work. unique_id, tags and response are absent until there are any.",
    ),
    "TaskPage": record(
        "docs* Task[]", "total* integer", "limit* integer", "offset* integer", "has_more* boolean", "next_token string"
    ),
    "Batch": record(
        "name* string",
        "project* string",
        "status* staging|in_progress|completed",
        "callback string",
        "created_at* time",
        "completed_at time",
        "metadata* object",
        "calibration_batch boolean",
        "self_label_batch boolean",
        "priority integer",
    ),
    "BatchPage": record(
        "docs* Batch[]", "totalDocs* integer", "limit* integer", "offset* integer", "has_more* boolean"
    ),
    "BatchProgress": record(
        "status* staging|in_progress|completed",
        "pending integer",
        "completed integer",
        "error integer",
        "canceled integer",
        about="A count that is zero is left out.",
    ),
    "ParamVersion": record("version* integer", "created_at* time", about="The parameters of tasks, by name."),
    "Project": record(
        "name* string",
        "type* string",
        "created_at* time",
        "param_history* ParamVersion[]",
        "ontologyHistory object[]",
        "archived boolean",
    ),
    "ProjectTemplate": record(
        "id* string", "version* integer", "created_at* time", "updated_at* time", "template_variables* any"
    ),
    "File": record(
        "id* string",
        "attachment_url* string",
        "mime_type* string",
        "size* integer",
        "project_names* string[]",
        "display_name string",
        "reference_id string",
        "metadata object",
        "created_at* time",
        "updated_at* time",
    ),
    "FilePage": record(
        "docs* File[]", "total* integer", "limit integer", "has_more* boolean", "next_token string", "cursor string"
    ),
    "Teammate": record(
        "email* string",
        "role* labeler|member|manager|admin|invited|disabled",
        "firstName string",
        "lastName string",
        "company string",
        "isStudioLabeler boolean",
        "disableRapidEmails boolean",
        "expiry time",
    ),
    "Assignments": {
        "type": "object",
        "description": "Project names by the e-mail address of every active teammate.",
        "additionalProperties": {"type": "array", "items": {"type": "string"}},
    },
    "GroupMember": record("id* string", "email* string"),
    "ProjectGroup": record(
        "id* string", "name* string", "numWorkers* integer", "isSingleton* boolean", "workers* GroupMember[]"
    ),
    "StudioBatch": record(
        "id* string",
        "name* string",
        "projectId* string",
        "projectName* string",
        "batchType* Production|Calibration",
        "studioPriority number",
        "total* integer",
        "completed* integer",
        "groups* string[]",
    ),
    "FeedbackScope": record("annotation_id string", "attribute string", "frames object", "category string"),
    "FeedbackItem": record(
        "id string",
        "type* error|comment|confirmation|flag",
        "state accepted|rejected|disputed",
        "comment string",
        "scope FeedbackScope",
    ),
    "FixlessAudit": record(
        "id* string",
        "task_id* string",
        "result* string",
        "response_url* string",
        "created_at* time",
        "audited_by string",
        "feedback_items* FeedbackItem[]",
    ),
    "QualityTask": record("id* string", "expected_response* object", "initial_response object", "type string"),
    "TrainingAttempt": record(
        "id* string",
        "quality_task_id* string",
        "quality_task_type* training|evaluation",
        "project* string",
        "labeler_email* string",
        "score* number",
        "passed* boolean",
        "started_at* time",
        "completed_at* time",
        "response* object",
    ),
    "TrainingAttempts": record(
        "docs* TrainingAttempt[]", "total* integer", "limit* integer", "has_more* boolean", "next_token string"
    ),
}
