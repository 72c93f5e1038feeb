"""All tools in their fixed order. Each module loads when one of its cards is first asked for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
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

# What only a hosted server has: it keeps events.
HOSTED_MODULES: dict[str, tuple[str, ...]] = {
    "events": (
        "list_events",
        "wait_for_events",
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


class _Cards(Mapping[str, Card]):
    """Names are known without loading anything: a server's first call should wait for one module, not for all."""

    def __init__(self, modules: Mapping[str, tuple[str, ...]]) -> None:
        self._module_of = {name: module for module, names in modules.items() for name in names}

    def __getitem__(self, name: str) -> Card:
        module = import_module(f"scale_mcp.tools.{self._module_of[name]}")
        card = getattr(module, name)
        assert isinstance(card, Card)
        return card

    def __contains__(self, name: object) -> bool:
        return name in self._module_of

    def __iter__(self) -> Iterator[str]:
        return iter(self._module_of)

    def __len__(self) -> int:
        return len(self._module_of)


_CARDS = _Cards(MODULES)
_HOSTED_CARDS = _Cards({**MODULES, **HOSTED_MODULES})


def cards() -> Mapping[str, Card]:
    """Every tool's card by its name, but for those of hosted servers alone."""
    return _CARDS


def hosted_cards() -> Mapping[str, Card]:
    """The cards of a hosted server: all others in their order, then its own."""
    return _HOSTED_CARDS
