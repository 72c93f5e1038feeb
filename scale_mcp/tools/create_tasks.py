"""Creating tasks: one tool per task type. Each sends its request model as it is; the api layer makes it safe."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from scale_mcp.models.evaluation_requests import EvaluationTaskRequest
from scale_mcp.models.task_requests import (
    DocumentTranscriptionRequest,
    ImageAnnotationRequest,
    LidarAnnotationRequest,
    LidarSegmentationRequest,
    NamedEntityRequest,
    SegmentationRequest,
    TaskRequest,
    TextCollectionRequest,
    VideoAnnotationRequest,
    VideoPlaybackRequest,
)
from scale_mcp.text import clean_value
from scale_mcp.tools.card import Call, ToolOutput, tool
from scale_mcp.tools.fitting import quoted, shorten
from scale_mcp.tools.task_outputs import CreatedTask, created_task

NEW = ("create", "new", "submit", "send", "label", "annotate")


async def _create(call: Call, request: TaskRequest) -> CreatedTask:
    return created_task(await call.api.tasks.create(request))


@tool(
    title="Create an image annotation task",
    toolset="tasks",
    risk="spend",
    keywords=(
        *NEW,
        "image",
        "picture",
        "photo",
        "bounding box",
        "polygon",
        "line",
        "point",
        "keypoint",
        "cuboid",
        "2d",
    ),
    action="SCALE_AI_CREATE_IMAGE_ANNOTATION_TASK",
)
async def create_image_annotation_task(call: Call, request: ImageAnnotationRequest) -> CreatedTask:
    """Have people draw boxes, polygons, lines, points, cuboids or ellipses on an image. Paid work; returns the
    task."""
    return await _create(call, request)


@tool(
    title="Create a segmentation task",
    toolset="tasks",
    risk="spend",
    keywords=(*NEW, "image", "pixel", "mask", "semantic", "instance", "panoptic", "segmentation"),
    action="SCALE_AI_CREATE_SEGMENTATION_ANNOTATION_TASK",
)
async def create_segmentation_task(call: Call, request: SegmentationRequest) -> CreatedTask:
    """Have people classify each pixel of an image; the result is masks. Paid work; returns the task."""
    return await _create(call, request)


@tool(
    title="Create a video annotation task",
    toolset="tasks",
    risk="spend",
    keywords=(*NEW, "video", "frames", "track", "tracking", "sequence", "movie"),
    action="SCALE_AI_CREATE_VIDEO_ANNOTATION_TASK",
)
async def create_video_annotation_task(call: Call, request: VideoAnnotationRequest) -> CreatedTask:
    """Have people annotate video frames (attachments) or, with attachment_type video, one video (attachment).
    Enterprise only. Paid work; returns the task."""
    return await _create(call, request)


@tool(
    title="Create a video playback annotation task",
    toolset="tasks",
    risk="spend",
    keywords=(*NEW, "video", "playback", "player", "clip", "mp4", "events", "action"),
    action="SCALE_AI_CREATE_VIDEO_PLAYBACK_ANNOTATION_TASK",
)
async def create_video_playback_annotation_task(call: Call, request: VideoPlaybackRequest) -> CreatedTask:
    """Have people annotate objects and events in a playing video (mp4, webm, ogg). Enterprise only. Paid work;
    returns the task."""
    return await _create(call, request)


@tool(
    title="Create a lidar annotation task",
    toolset="tasks",
    risk="spend",
    keywords=(*NEW, "lidar", "point cloud", "3d", "cuboid", "sensor fusion", "radar", "autonomous driving"),
    action="SCALE_AI_CREATE_LIDAR_ANNOTATION_TASK",
)
async def create_lidar_annotation_task(call: Call, request: LidarAnnotationRequest) -> CreatedTask:
    """Have people put 3-D cuboids around objects in lidar frames (JSON). Paid work; returns the task."""
    return await _create(call, request)


@tool(
    title="Create a lidar segmentation task",
    toolset="tasks",
    risk="spend",
    keywords=(*NEW, "lidar", "point cloud", "3d", "segmentation", "points", "classify points"),
    action="SCALE_AI_CREATE_LIDAR_SEGMENTATION_TASK",
)
async def create_lidar_segmentation_task(call: Call, request: LidarSegmentationRequest) -> CreatedTask:
    """Have people classify lidar points, either of frames (attachments) or of a lidar_task. Needs project or
    batch. Paid work; returns the task."""
    return await _create(call, request)


@tool(
    title="Create a named entity recognition task",
    toolset="tasks",
    risk="spend",
    keywords=(*NEW, "text", "entity", "entities", "ner", "names", "spans", "relationships", "extract"),
    action="SCALE_AI_CREATE_NAMED_ENTITY_RECOGNITION_TASK",
)
async def create_named_entity_recognition_task(call: Call, request: NamedEntityRequest) -> CreatedTask:
    """Have people mark entities and their relationships in a text. Paid work; returns the task."""
    return await _create(call, request)


@tool(
    title="Create a text collection task",
    toolset="tasks",
    risk="spend",
    keywords=(*NEW, "survey", "questions", "form", "classify", "category", "rate", "collect", "text", "website"),
    action="SCALE_AI_CREATE_TEXT_COLLECTION_TASK",
)
async def create_text_collection_task(call: Call, request: TextCollectionRequest) -> CreatedTask:
    """Have people answer questions about texts, images, PDFs, videos, audio or websites. Paid work; returns the
    task."""
    return await _create(call, request)


@tool(
    title="Create a document transcription task",
    toolset="tasks",
    risk="spend",
    keywords=(*NEW, "document", "ocr", "transcribe", "transcription", "receipt", "invoice", "pdf", "scan", "pages"),
    action="SCALE_AI_CREATE_DOCUMENT_TRANSCRIPTION_TASK",
)
async def create_document_transcription_task(call: Call, request: DocumentTranscriptionRequest) -> CreatedTask:
    """Have people transcribe a document: attachment or attachments, not both. Paid work; returns the task."""
    return await _create(call, request)


class EvaluationTaskResult(ToolOutput):
    id: str = Field(description="Its id; evaluation tasks have no task_id")
    type: str
    project: str
    expected_response: Any = None
    initial_response: Any = None
    shortened: list[str] | None = None

    def text(self) -> str:
        phase = "review phase" if self.initial_response is not None else "attempt phase"
        return f"created: {self.type} evaluation task {self.id} ({phase}) in project {quoted(self.project)}."


@tool(
    title="Create an evaluation task",
    toolset="quality",
    risk="write",
    keywords=("create", "evaluation", "benchmark", "gold", "golden", "honeypot", "known answer", "measure", "labelers"),
)
async def create_evaluation_task(call: Call, request: EvaluationTaskRequest) -> EvaluationTaskResult:
    """Create a task whose right answer is known, to measure labelers of a Rapid project. Takes the parameters of its
    type beside expected_response. May cost money with a live key. Returns its id (not a task_id)."""
    task = await call.api.tasks.create_evaluation(request)
    answers = {"expected_response": task.expected_response, "initial_response": task.initial_response}
    kept, notes = shorten({name: value for name, value in answers.items() if value is not None}, 4_000)
    fields = {"id": clean_value(task.id), "type": request.type, "project": request.project, "shortened": notes or None}
    created = EvaluationTaskResult.model_validate({**fields, **kept})
    return created.then("Next: get_training_attempts with this id in quality_task_ids, once people have tried it.")
