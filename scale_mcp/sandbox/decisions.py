"""What Scale does not document, decided once. Each entry asks the question, states the choice, and holds its value.

The code refers to entries by name (``decisions.PICKUP_DELAY.value``), so that searching for a name shows the question,
the choice and every place that depends on it. Areas may add entries; the order is that of the resources.
"""

# ruff: noqa: FBT003 - a decision may well be a yes or a no

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

Value = TypeVar("Value")


@dataclass(frozen=True)
class Decision(Generic[Value]):
    """One open question and the sandbox's answer to it."""

    question: str
    choice: str
    value: Value


# Requests and keys

KEY_MODES = Decision(
    "Which keys are test keys?",
    "`test_…` and `…|test`; `live_…` is live; anything else is refused with 401.",
    ("test_", "|test", "live_"),
)
SEVERAL_KEYS = Decision(
    "May an account have several keys?",
    "Yes: what follows a `+` makes a further key of the same account, as in `live_me` and `live_me+2`.",
    "+",
)
UNAUTHORIZED_TEXT = Decision("What does a 401 say?", "One short sentence.", "Invalid API key.")
LIMIT_OUT_OF_RANGE = Decision("Is a `limit` outside 1–100 clamped or refused?", "Refused with 400.", 400)
BODY_TOO_LARGE = Decision("What does a body far above 80 MB get?", "413, as HTTP has it.", 413)
PROJECT_NOT_FOUND = Decision(
    "What does the 404 of an unknown project say?", "Its name, in quotes.", 'Project "{name}" not found.'
)
BATCH_NOT_FOUND = Decision(
    "What does the 404 of an unknown batch say?", "Its name, in quotes.", 'Batch "{name}" not found.'
)
NEVER_IN_PARAMS = Decision(
    "Which members of a set of project params are not stored?",
    "`patch` steers the call; `version` and `created_at` are Scale's own, and come back when a set is copied.",
    ("patch", "version", "created_at"),
)

# Tasks

UNKNOWN_TASK_TYPE = Decision("Is an unknown task type in a path 404 or 400?", "404, like any unknown path.", 404)
PROJECTLESS = Decision('Does a task without a project have `project: "default"` or none?', "The key is absent.", None)
PROJECT_OF_OTHER_TYPE = Decision(
    "May a task have another type than its project?", "No: 400, since a project has one task type.", 400
)
BATCH_OF_OTHER_PROJECT = Decision("What if `project` is not the batch's project?", "400.", 400)
INSTRUCTION_JOINT = Decision(
    "How is a project's instruction appended to the task's?",
    "After a blank line. In Rapid projects the task's own text overrides it instead, as their documentation says.",
    "\n\n",
)
IDEMPOTENCY_KEY_REUSED = Decision(
    "Does a repeated Idempotency-Key replay the first answer?",
    "No: 409 with the task it made, whatever the body. The key is kept as long as the database.",
    'The Idempotency-Key "{key}" is already used for a different request (task {task_id}).',
)
TEST_TASK_DURATION = Decision(
    "When is a test task completed?", "50 ms after its creation, as recorded answers have it.", 0.05
)
SIMULATION_KEY = Decision(
    "Where does the sandbox say how an answer came about?",
    "In `simulation` on the task, beside `response`, whose shape stays Scale's.",
    "simulation",
)
ATTACHMENT_DELAY = Decision(
    "When does a live task notice that its attachment cannot be had?",
    "5 seconds after creation. A test task is settled at once, in the answer to its creation.",
    5.0,
)
BROKEN_HOST = Decision(
    "How is a download error provoked, when nothing is ever downloaded?",
    "With an attachment on this host; a path like /403/a.png chooses the status, otherwise it is 404.",
    "broken.sandbox.invalid",
)
PICKUP_DELAY = Decision(
    "How long is a live task Queued (and can be canceled) when workers are free?", "One minute.", 60.0
)
PRIORITY_WITHOUT_ONE = Decision("Where does a task or batch without a priority stand?", "With the lowest, 10.", 10)
RECALL_DELAY = Decision(
    "When is a completed task recalled, if the sandbox is set to recall some?", "An hour after its completion.", 3600.0
)
PRIOR_RESPONSES = Decision(
    "Where is the earlier answer of a task that was recalled, or is done again?",
    "In this list on the task, oldest first; `response` is absent until there is a new one.",
    "prior_responses",
)
CANCEL_ERROR_TASK = Decision("May a task in `error` be canceled?", "No: only pending tasks, 400.", 400)
EMPTY_TAGS = Decision("Is `tags` `[]` or absent after the last tag is deleted?", "`[]`.", ())
TAGS_MATCH = Decision("Does the filter `tags=a&tags=b` want any or all of them?", "Any.", "any")
UNIQUE_IDS_MATCH = Decision(
    "Are comma-joined `unique_id` filters split?",
    "No, since an id may contain commas: repeat the key. Any of them matches.",
    "any",
)
UNKNOWN_NAME_IN_FILTER = Decision(
    "Is an unknown project or batch in a list filter an error?", "No: the list is empty.", 200
)
TIME_BOUNDS = Decision("Are time filters inclusive?", "Yes, both ends.", "inclusive")
LIMITED_RESPONSE_KEYS = Decision(
    "What does `limited_response` leave? What is `otherVersion`?",
    "These keys, where the task has them; nothing has an `otherVersion` here.",
    ("task_id", "status", "metadata", "project"),
)
ATTACHMENT_URL_KEY = Decision(
    "Which field does `include_attachment_url` add?",
    "`attachmentS3Urls`, an object from attachment to URL, for files of our own; absent when there are none.",
    "attachmentS3Urls",
)
AUDIT_ANSWER = Decision(
    "What does an audit answer: `OK` or an object?", "The task, which clients that read nothing accept too.", "task"
)
AUDITOR = Decision("Who made an audit that came through the API?", "This address.", "api@sandbox.example")
REDO_DELAY = Decision(
    "When is a rejected task done again, if the sandbox is set to redo some?", "Ten minutes after the audit.", 600.0
)
CALLBACK_OF_CANCELLATION = Decision("Does a cancellation call back?", "No.", False)
RESEND_WITHOUT_CALLBACK = Decision(
    "What if a callback is to be sent again for a task that is pending or has no callback_url?", "400.", 400
)
RESPONSE_URL_KEYS = Decision(
    "Which keys may fetch a result URL?",
    "The task's own, also a test key (or a test account could not read its results), and the live key of its pair.",
    ("own", "live twin"),
)
CALLBACK_SUCCEEDED = Decision(
    "When does `callback_succeeded` appear?",
    "With the first attempt; true once any got a 2xx or was mailed. It stays absent for hosts we never contact.",
    "callback_succeeded",
)
MAIL_SENDER = Decision("Who mails callbacks?", "Nobody: they are kept in an outbox, as from here.", "hello@scale.ai")

# Batches


def _nothing_pending(counts: dict[str, int]) -> bool:
    return not counts.get("pending") and counts.get("completed", 0) > 0


BATCH_COMPLETION = Decision(
    "When is a batch completed? Do canceled and failed tasks count?",
    "As soon as no task is pending and at least one is completed.",
    _nothing_pending,
)
TASK_FOR_COMPLETED_BATCH = Decision(
    "May a task be added to a completed Enterprise batch?", "Yes: the batch is in progress again.", "in_progress"
)
FINALIZE_EMPTY_BATCH = Decision("May an empty staging batch be finalized?", "Yes.", "in_progress")
RAPID_ONLY_BATCHES = Decision(
    "What of calibration and self-label batches outside Rapid?",
    "400 when one is asked for, but for calibration batches of Studio, whose list of batches tells them apart.",
    400,
)
PRIORITIZE_ANSWER = Decision(
    "What does prioritizing a batch answer?", "The batch, with `result` beside its members.", "success"
)
BATCH_DETAILS = Decision(
    "What are the counts of `detailed=true` called?",
    "As in the batch's status; all of them, also with the prefix `tasks_`.",
    ("pending", "completed", "error", "canceled"),
)
BATCH_CALLBACK_BODY = Decision(
    "What is the body of a batch callback?", "`{batch, project, name, status}`.", ("batch", "project", "name", "status")
)

# Projects

PROJECT_ORDER = Decision("In which order are projects listed?", "Oldest first.", "no")
PATCH_DEPTH = Decision("Does `patch` merge deeply?", "No: key by key of the top level.", "shallow")
PROJECT_TEMPLATE = Decision(
    "What is in a project's task template?",
    "`template_variables` are its latest params, `response_schema` a JSON schema of the answers to its fields.",
    ("template_variables", "response_schema"),
)

# Files

FILE_ID = Decision("Is the UUID in an `attachment_url` the file's `id`?", "Yes.", True)
FILE_PROJECT_IS_FREE = Decision(
    "Must the `project_name` of a file exist?", "No, it is a word to find the file by; nothing is checked.", True
)
IMPORT_WITHOUT_FETCH = Decision(
    "What does an import of a URL do, when nothing may be fetched?",
    "The sandbox's own files, its data set and `scaledata://` URLs are copied. Any other http(s) URL is recorded"
    " without content, size 0, its type guessed from its name. The reserved host here is never reached: 400.",
    "broken.sandbox.invalid",
)
FILE_METADATA_FILTER = Decision(
    "When does a file match a metadata filter?", "When it has all of the given members with equal JSON values.", True
)
FILE_LIST = Decision(
    "What does the list of files look like?",
    "Newest first: `docs`, `total`, `limit`, `has_more`, and one token under the names `next_token` and `cursor`.",
    ("next_token", "cursor"),
)
FILE_TOO_LARGE = Decision("What does a file above 80 MB get?", "413.", 413)

# Team and Studio

INVITATION_LASTS = Decision(
    "How long is an invitation good for?", "14 days, in seconds; nobody is removed afterwards.", 14 * 86_400.0
)
INVITATION_ACCEPTED = Decision(
    "When do invited people accept?", "A day after the invitation, in seconds, on the sandbox's clock.", 86_400.0
)
INVITE_AGAIN = Decision(
    "What does inviting somebody again do?",
    "It renews an invitation, with the new role. Somebody disabled becomes invited; somebody active stays as he is.",
    True,
)
FIRST_TEAM = Decision(
    "Who is on the team of a new account?",
    "An admin, a manager, a member, a disabled former member, and the simulated workforce as labelers.",
    ("admin@sandbox.example", "manager@sandbox.example", "member@sandbox.example", "former@sandbox.example"),
)
STUDIO_STRANGER = Decision(
    "What does assigning a project to somebody who cannot work get?",
    "404 for an e-mail that is not on the team or a project that does not exist, 400 for who is invited or disabled.",
    (404, 400),
)
STUDIO_ANY_PROJECT = Decision(
    "Do assignments and groups need a Studio project?", "No, any project will do; only batches are told apart.", True
)
STUDIO_PENDING = Decision(
    "Which Studio batches are pending?", "Those that are finalized and not completed.", "in_progress"
)
STUDIO_NEW_BATCH_LAST = Decision(
    "Where does a batch stand that became pending after the priorities were set?",
    "Behind those that were given a place; among its like, calibration first and then the oldest.",
    True,
)
STUDIO_PLACES_FIRST = Decision(
    "How do Studio priorities and other tasks of the account compare?",
    "Batches that were given a place are worked on before everything else, in its order.",
    1_000_000,
)
STUDIO_LABELERS = Decision(
    "Who works on the tasks of a Studio project?",
    "The groups of the batch; when it has none, who is assigned to the project; when nobody is, the whole workforce."
    " Teammates of your own work like simulated ones. An empty group works on nothing.",
    ("groups", "assignments", "workforce"),
)
STUDIO_GROUP_TAKEN = Decision("What does a second group of one name get?", "409.", 409)
STUDIO_LEAVING = Decision(
    "Does who is taken off a project leave its groups?", "Yes: groups consist of people assigned to the project.", True
)

# Quality

NEW_FEEDBACK_STATE = Decision(
    "Which state has a feedback item before anybody addressed it?", "accepted, unless one is given.", "accepted"
)
AUDIT_NEEDS_COMPLETED = Decision(
    "Which tasks can have a fixless audit?", "Completed ones; others get 400, and unknown ones 404.", 400
)
AUDIT_LIST = Decision("How are fixless audits listed?", "As a bare array, newest first.", True)
UNKNOWN_QUALITY_TYPE = Decision(
    "What does an evaluation or training task of another type get?", "404, as an unknown path does.", 404
)
QUALITY_PICKUP = Decision(
    "How soon does a labeler begin with a quality task?", "After 30 minutes on average, in seconds.", 1_800.0
)
EVALUATED_SHARE = Decision(
    "Who attempts which quality task?",
    "Every simulated worker is trained once; each meets an evaluation task with this chance, one of them surely."
    " With a test key the attempts are made at once.",
    0.5,
)
PASSING_SCORE = Decision(
    "When is an attempt passed?",
    "When it agrees with the expected response to this share: paired annotations weighed by overlap, fields one by"
    " one.",
    0.8,
)
ATTEMPT_NEEDS_TRUTH = Decision(
    "What if no truth can be read from an expected response?",
    "Then nobody attempts the task; nothing is invented.",
    True,
)

# Answers

TEST_ANSWERS = Decision(
    "What do the newer task types answer in test mode?",
    "One annotation per geometry and leaf label at fixed coordinates, as recorded for older types, also when the task"
    " brings a hypothesis. Segmentations are upright stripes.",
    100,
)
TEST_TEXT = Decision("What does test mode write into text fields?", "What recorded answers have.", "test response")
TEST_MASK_SIZE = Decision(
    "How large are test mode's masks?", "As the picture, or this when its size is not known.", (128, 96)
)
TEST_PAGE_SIZE = Decision(
    "How large are test mode's document pages?", "As the picture, or this when its size is not known.", (1000, 1400)
)
TEST_VIDEO_FRAMES = Decision(
    "How many frames does test mode annotate of a video file, which it does not read?",
    "As many as frame rate and duration make, or this many.",
    2,
)
UNKNOWN_TYPE_ANSWER = Decision(
    "What do task types answer whose response is documented nowhere?", "An empty object, and it says so.", "{}"
)
LABELS_MATCH = Decision(
    "When does a task's label mean something that the sandbox knows by another spelling?",
    "When they differ in case, spaces, hyphens or underscores only, or the data set lists the other name."
    " The answer has the task's spelling.",
    " _-",
)
LINKS_ANSWER = Decision("What does `links` of a response hold?", "Nothing: the simulated workers draw no links.", ())
SEGMENT_ATTRIBUTES = Decision(
    "Where do attributes of a segment go?", "Into its entry of `labelMapping`, under this name.", "attributes"
)
MANY_SEGMENTS = Decision(
    "What is `indexedImage` when there are more than 255 indexes?", "A 16-bit PNG of one channel.", 16
)
EVENTS_FILE = Decision(
    "Does videoannotation give events, and how?",
    "As videoplaybackannotation does, behind `events.url`, a bare list; only when events were asked for.",
    "url",
)
POINT_FILE_NAMES = Decision(
    "Is the point file of lidarsegmentation `objects`/`point_objects` or `labels`/`point_labels`?",
    "The former, as the documented sample has it; both are read.",
    ("objects", "point_objects"),
)
CUBOIDS_KEPT = Decision(
    "Which cuboids does a segmentation built on a lidar task answer with?",
    "Those of that task's answer, unchanged, for the chosen frames.",
    True,
)
TOPDOWN_ANSWER = Decision(
    "Does lidartopdown answer inline or behind a URL?", "Inline, like imageannotation.", "imageannotation"
)
ENTITY_LABELS = Decision(
    "May labels of entities be plain strings?", "Yes, a string stands for an object with that `name`.", True
)
TEXT_OFFSETS = Decision(
    "What do `start` and `end` of an entity count, and is the end included?",
    "Code points; the end is not included. A hypothesis with included ends is noticed by its `text`.",
    "exclusive",
)
COLLECTION_FORM = Decision(
    "In which of the two forms does textcollection answer?",
    "The short one; with `responses_required` above 1 each field has a list with one answer per person. Both are read.",
    "short",
)
FEATURE_FLAGS = Decision(
    "How does a transcription feature ask for money, dates or checkboxes?",
    "By naming the flag anywhere in the feature besides its label.",
    ("money", "date", "checkbox"),
)
REVIEW_CATCHES = Decision(
    "How good is the review between the simulated workers and the customer?",
    "It catches this share of wrong classes, missed objects and wrong attributes.",
    0.6,
)
