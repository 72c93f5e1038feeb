"""How each tool's project is known: from an argument, from the task or batch it is about, or not at all.

One line per tool, for every tool there is. What a tool touches decides whether a persona with a list of projects may
call it: a tool without a line here is not offered to such a persona.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Reach:
    """What one tool touches. Names are of arguments, unless said otherwise.

    project        names the project
    batch          names a batch, which has a project
    task           is the id of a task, which has a project
    choose         one of ``project`` and ``batch`` is needed, though Scale does not need it: without it the call would
                   go over the whole account
    demands        has to be given, though Scale does not need it
    told_by        a field of the result that says the project, so that reading needs no look before; only where none of
                   ``unless`` is given, as these make the tool say something else
    unless         see ``told_by``
    rows_by        a field of each listed row that says its project
    rows_of        an argument that a field of the same name in each listed row must equal
    file           names a result file of the task, for the words of a refusal
    cursor         the argument that holds the place in a list
    following      the field of the result that holds the place to go on from; named as ``cursor`` when empty
    shares         whose cursors it takes besides its own; then they are bound to no project, batch or tool
    whole_account  it is about the account as a whole: its people, their work, their order
    """

    project: str = ""
    batch: str = ""
    task: str = ""
    choose: bool = False
    demands: str = ""
    told_by: str = ""
    unless: tuple[str, ...] = ()
    rows_by: str = ""
    rows_of: str = ""
    file: str = ""
    cursor: str = ""
    following: str = ""
    shares: str = ""
    whole_account: bool = False


_ACCOUNT = Reach(whole_account=True)
_TASK = Reach(task="task_id")
_BATCH = Reach(batch="batch_name")
_FILE = Reach(project="project_name", choose=True)
# Any create may name a lidar task to build upon, if only among its further parameters.
_CREATE = Reach(project="project", batch="batch", task="lidar_task", choose=True)
# Events come from the caller's own feed, which leaves out what other projects are about.
_EVENTS = Reach(rows_by="project", cursor="after", following="next_after", shares="events")

REACH: Mapping[str, Reach] = {
    "create_project": Reach(project="name"),
    "get_project": Reach(project="name"),
    "list_projects": Reach(rows_by="name"),
    "set_project_params": Reach(project="name"),
    "set_project_ontology": Reach(project="name"),
    "upload_file": _FILE,
    "import_file": _FILE,
    "list_assets": Reach(project="project", cursor="cursor"),
    "create_batch": Reach(project="project"),
    "get_batch": Reach(batch="batch_name", told_by="project"),
    "get_batch_status": _BATCH,
    "list_batches": Reach(project="project", choose=True, rows_by="project"),
    "finalize_batch": _BATCH,
    "prioritize_batch": _BATCH,
    "create_image_annotation_task": _CREATE,
    "create_segmentation_task": _CREATE,
    "create_video_annotation_task": _CREATE,
    "create_video_playback_annotation_task": _CREATE,
    "create_lidar_annotation_task": _CREATE,
    "create_lidar_segmentation_task": _CREATE,
    "create_named_entity_recognition_task": _CREATE,
    "create_text_collection_task": _CREATE,
    "create_document_transcription_task": _CREATE,
    "create_evaluation_task": _CREATE,
    "get_task": Reach(task="task_id", told_by="project", unless=("part", "offset")),
    "list_tasks": Reach(project="project", batch="batch", choose=True, rows_by="project", cursor="next_token"),
    "add_task_tags": _TASK,
    "set_task_tags": _TASK,
    "delete_task_tags": _TASK,
    "update_task_unique_id": _TASK,
    "delete_task_unique_id": _TASK,
    "set_task_metadata": _TASK,
    "resend_task_callback": _TASK,
    "cancel_task": _TASK,
    "get_task_response": Reach(task="task_id", file="uuid"),
    "list_teammates": _ACCOUNT,
    "invite_team_member": _ACCOUNT,
    "set_teammate_role": _ACCOUNT,
    "get_studio_assignments": _ACCOUNT,
    "add_studio_assignments": _ACCOUNT,
    "remove_studio_assignments": _ACCOUNT,
    "get_studio_batches": _ACCOUNT,
    "set_studio_batch_priorities": _ACCOUNT,
    "reset_studio_batch_priorities": _ACCOUNT,
    "get_fixless_audits": Reach(task="task_id", demands="task_id", rows_of="task_id"),
    "get_training_attempts": Reach(whole_account=True, cursor="next_token"),
    "list_events": _EVENTS,
    "wait_for_events": _EVENTS,
}
