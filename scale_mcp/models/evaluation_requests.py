"""Evaluation tasks: tasks of any Rapid type whose right answer is known, to measure the workers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, WithJsonSchema

from scale_mcp.models.checks import Problem, problems_in
from scale_mcp.models.field_types import Name
from scale_mcp.models.task_requests import REQUESTS, TaskRequest

EvaluationType = Literal[
    "documenttranscription",
    "segmentannotation",
    "videoplaybackannotation",
    "imageannotation",
    "textcollection",
    "namedentityrecognition",
]

# Parameters of the task's own type. Which type that is, only the request says, so its rules check them.
AnyText = Annotated[Any, WithJsonSchema({"type": "string"})]
AnyList = Annotated[
    Any, WithJsonSchema({"type": "array", "items": {"anyOf": [{"type": "string"}, {"type": "object"}]}})
]
AnyObject = Annotated[Any, WithJsonSchema({"type": "object"})]
AnyNumber = Annotated[Any, WithJsonSchema({"type": "number"})]
AnyFlag = Annotated[Any, WithJsonSchema({"type": "boolean"})]


class EvaluationTaskRequest(TaskRequest):
    """``type`` goes into the path, the rest is the body. Parameters of the type are checked by the type's request."""

    type: EvaluationType = Field(description="Task type")
    project: Name = Field(description="Name of a Rapid project")
    expected_response: AnyObject = Field(description="The right answer, shaped as the type's response")
    initial_response: AnyObject = Field(None, description="Answer to be reviewed; makes it a review-phase evaluation")

    attachment: AnyText = Field(None, description="URL of what to label")
    attachments: AnyList = Field(None, description="What to label, when there are several")
    attachment_type: AnyText = Field(None, description="Kind of attachment")
    geometries: AnyObject = Field(None, description="Shapes to draw")
    annotation_attributes: AnyObject = Field(None, description="Questions per annotation by name")
    links: AnyObject = Field(None, description="Allowed links between annotations")
    labels: AnyList = Field(None, description="Labels or classes")
    allow_unlabeled: AnyFlag = Field(None, description="Let pixels stay unlabeled")
    events_to_annotate: AnyList = Field(None, description="Event labels of a video")
    frame_rate: AnyNumber = Field(None, description="Frames per second of a video")
    features: AnyList = Field(None, description="What to find in a document")
    text: AnyText = Field(None, description="The text to label")
    relationships: AnyList = Field(None, description="Relationships between entities")
    global_attributes: AnyObject = Field(None, description="Questions about the whole text")
    fields: AnyList = Field(None, description="Questions of a text collection")
    title: AnyText = Field(None, description="Heading of a text collection")
    description: AnyText = Field(None, description="Text under the heading")
    responses_required: AnyNumber = Field(None, description="How many people answer")
    hypothesis: AnyObject = Field(None, description="Pre-labels, shaped as the response")

    @classmethod
    def rules(cls, given: Mapping[str, Any]) -> Iterator[Problem]:
        yield from super().rules(given)
        kind = REQUESTS.get(str(given.get("type")))
        if kind is None:
            return
        ours = {"type", "expected_response", "initial_response"}
        for name in given:
            if name in cls.model_fields and name not in kind.model_fields and name not in ours:
                yield Problem((name,), f"is not a parameter of {kind.task_type} tasks; leave it out")
        try:
            kind.model_validate({name: value for name, value in given.items() if name in kind.model_fields})
        except ValidationError as error:
            yield from problems_in(error)

    def to_wire(self) -> dict[str, Any]:
        """The body as the type's own request would send it, with the answers beside it."""
        body = super().to_wire()
        kind = REQUESTS[body.pop("type")]
        known = {name: body.pop(name) for name in list(body) if name in kind.model_fields}
        return {**body, **kind.model_validate(known).to_wire()}
