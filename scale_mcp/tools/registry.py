"""All tools in their fixed order. Each module loads when the cards are first asked for."""

from __future__ import annotations

from functools import cache
from importlib import import_module

from scale_mcp.tools.card import Card

# The order is what clients see, and it never changes from one list to the next.
MODULES: dict[str, tuple[str, ...]] = {
    "projects": (
        "create_project",
        "get_project",
        "list_projects",
        "set_project_params",
        "set_project_ontology",
    ),
    "files": (
        "upload_file",
        "import_file",
        "list_assets",
    ),
    "batches": (
        "create_batch",
        "get_batch",
        "get_batch_status",
        "list_batches",
        "finalize_batch",
        "prioritize_batch",
    ),
    "create_tasks": (
        "create_image_annotation_task",
        "create_segmentation_task",
        "create_video_annotation_task",
        "create_video_playback_annotation_task",
        "create_lidar_annotation_task",
        "create_lidar_segmentation_task",
        "create_named_entity_recognition_task",
        "create_text_collection_task",
        "create_document_transcription_task",
        "create_evaluation_task",
    ),
    "tasks": (
        "get_task",
        "list_tasks",
        "add_task_tags",
        "set_task_tags",
        "delete_task_tags",
        "update_task_unique_id",
        "delete_task_unique_id",
        "set_task_metadata",
        "resend_task_callback",
        "cancel_task",
    ),
    "task_responses": ("get_task_response",),
    "team": (
        "list_teammates",
        "invite_team_member",
        "set_teammate_role",
    ),
    "studio": (
        "get_studio_assignments",
        "add_studio_assignments",
        "remove_studio_assignments",
        "get_studio_batches",
        "set_studio_batch_priorities",
        "reset_studio_batch_priorities",
    ),
    "quality": (
        "get_fixless_audits",
        "get_training_attempts",
    ),
}

SIBLINGS = (
    "create_project",
    "prioritize_batch",
    "create_evaluation_task",
    "set_task_tags",
    "cancel_task",
    "set_teammate_role",
)
"""The six tools beyond the forty actions."""

THE_FORTY: tuple[str, ...] = tuple(name for names in MODULES.values() for name in names if name not in SIBLINGS)


@cache
def cards() -> dict[str, Card]:
    """Every tool's card by its name."""
    found: dict[str, Card] = {}
    for module_name, names in MODULES.items():
        module = import_module(f"scale_mcp.tools.{module_name}")
        for name in names:
            card = getattr(module, name)
            assert isinstance(card, Card)
            found[name] = card
    return found
