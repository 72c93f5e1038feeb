"""The definitions that agents and hosts see: steady, portable, complete, and within their budget."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from scale_mcp.tools.card import Card
from scale_mcp.tools.registry import SIBLINGS, THE_FORTY, cards, hosted_cards
from scale_mcp.tools.schema import input_schema, output_schema
from tests.tool_arguments import ARGUMENTS, HOSTED_ARGUMENTS

SNAPSHOTS = Path(__file__).parent / "snapshots"
UPDATE = "UPDATE_SNAPSHOTS"  # set to 1 to accept the definitions as they are now

# The budget is 7,000 tokens. bench/tokens.mjs counts them; JSON of this kind has 4.5 characters per token.
CHARACTERS_PER_TOKEN = 4.46
BUDGET = 7_000

every_card = pytest.mark.parametrize("card", list(hosted_cards().values()), ids=lambda card: card.name)


def shown(card: Card) -> dict[str, Any]:
    return {"name": card.name, "description": card.description, "inputSchema": input_schema(card)}


def nodes(schema: Any, path: str = "$") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every schema within a schema."""
    if not isinstance(schema, dict):
        return
    yield path, schema
    for name, child in schema.get("properties", {}).items():
        yield from nodes(child, f"{path}.{name}")
    for key in ("items", "additionalProperties"):
        yield from nodes(schema.get(key), f"{path}.{key}")
    for index, child in enumerate(schema.get("anyOf", [])):
        yield from nodes(child, f"{path}.anyOf[{index}]")


@pytest.mark.parametrize("file", ["definitions.json", "hosted_definitions.json"])
def test_the_definitions_change_only_on_purpose(file: str):
    """Run with UPDATE_SNAPSHOTS=1 to accept a change, and read the difference before committing it."""
    snapshot, hosted = SNAPSHOTS / file, file.startswith("hosted")
    now = {
        card.name: {
            **shown(card),
            "title": card.title,
            "toolset": card.toolset,
            "risk": card.risk,
            "idempotent": card.idempotent,
            "outputSchema": output_schema(card),
        }
        for card in hosted_cards().values()
        if (card.name not in cards()) == hosted
    }
    if os.environ.get(UPDATE):
        snapshot.parent.mkdir(exist_ok=True)
        snapshot.write_text(json.dumps(now, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")

    assert json.loads(snapshot.read_text(encoding="utf-8")) == now
    assert list(json.loads(snapshot.read_text(encoding="utf-8"))) == list(now)


def test_a_hosted_server_has_all_tools_in_their_order_and_then_its_own():
    assert list(hosted_cards()) == [*cards(), "list_events", "wait_for_events"]
    assert all(hosted_cards()[name] is card for name, card in cards().items())
    assert {hosted_cards()[name].toolset for name in hosted_cards() if name not in cards()} == {"work"}
    assert "work" not in {card.toolset for card in cards().values()}


def test_the_forty_fit_into_their_budget():
    definitions = [shown(card) for card in cards().values() if card.name in THE_FORTY]
    characters = len(json.dumps(definitions, ensure_ascii=False, separators=(",", ":")))

    assert characters / CHARACTERS_PER_TOKEN < BUDGET


def test_every_action_of_the_catalogue_has_its_tool():
    slugs = [card.action for card in cards().values() if card.name in THE_FORTY]

    assert len(set(slugs)) == 40
    assert all(slug and slug.startswith("SCALE_AI_") for slug in slugs)
    assert [cards()[name].action for name in SIBLINGS] == [None] * 6


def test_risks_are_counted_as_planned():
    risks = [cards()[name].risk for name in THE_FORTY]

    assert {risk: risks.count(risk) for risk in set(risks)} == {"read": 14, "write": 11, "spend": 10, "destroy": 5}


@every_card
def test_schemas_are_valid_and_portable(card: Card):
    for schema in (input_schema(card), output_schema(card)):
        Draft202012Validator.check_schema(schema)
        assert schema["type"] == "object"
        assert not {"anyOf", "oneOf", "allOf", "not", "enum"} & schema.keys()
        for path, node in nodes(schema):
            assert not {"$ref", "$defs", "title", "const", "oneOf", "allOf"} & node.keys(), path
            assert not isinstance(node.get("type"), list), path
            assert node.get("type") != "null", path
            assert node.get("default", "") is not None, path
            assert node.get("type") != "array" or "items" in node, path
            assert node.get("type") == "object" or "properties" not in node, path


@every_card
def test_inputs_are_closed_and_every_parameter_is_described(card: Card):
    schema = input_schema(card)

    assert schema["additionalProperties"] is False
    for name, parameter in schema["properties"].items():
        assert parameter.get("description"), name
        assert len(parameter["description"]) < 100, name
        assert "type" in parameter, name


@every_card
def test_no_reference_or_docstring_of_the_code_leaks_into_a_schema(card: Card):
    text = json.dumps([input_schema(card), output_schema(card)])

    assert not re.search(r"``|What `|Annotated|pydantic", text)


@every_card
def test_the_example_arguments_follow_the_input_schema(card: Card):
    Draft202012Validator(input_schema(card)).validate((ARGUMENTS | HOSTED_ARGUMENTS)[card.name])


def test_schemas_say_what_the_documents_say():
    image = input_schema(cards()["create_image_annotation_task"])["properties"]
    listing = input_schema(cards()["list_tasks"])["properties"]

    assert image["attachment_type"]["enum"] == ["image"]
    assert list(image["geometries"]["properties"]) == ["box", "polygon", "line", "point", "cuboid", "ellipse"]
    assert image["geometries"]["properties"]["box"]["properties"]["can_rotate"] == {"type": "boolean"}
    assert (image["priority"]["minimum"], image["priority"]["maximum"]) == (10, 30)
    assert image["tags"]["maxItems"] == 5
    assert listing["status"]["enum"] == ["pending", "completed", "canceled", "error"]
    assert (listing["limit"]["minimum"], listing["limit"]["maximum"], listing["limit"]["default"]) == (1, 100, 20)
    assert {"start_time", "end_time"} < listing.keys()


def test_required_parameters_are_those_of_the_documents():
    required = {name: input_schema(card).get("required", []) for name, card in cards().items()}

    assert required == {
        "create_project": ["name", "type"],
        "get_project": ["name"],
        "list_projects": [],
        "set_project_params": ["name"],
        "set_project_ontology": ["name", "ontology"],
        "upload_file": [],
        "import_file": ["file_url"],
        "list_assets": ["project"],
        "create_batch": ["project", "name"],
        "get_batch": ["batch_name"],
        "get_batch_status": ["batch_name"],
        "list_batches": [],
        "finalize_batch": ["batch_name"],
        "prioritize_batch": ["batch_name", "priority"],
        "create_image_annotation_task": ["attachment"],
        "create_segmentation_task": ["attachment"],
        "create_video_annotation_task": [],
        "create_video_playback_annotation_task": [],
        "create_lidar_annotation_task": ["attachments"],
        "create_lidar_segmentation_task": [],
        "create_named_entity_recognition_task": ["text"],
        "create_text_collection_task": [],
        "create_document_transcription_task": [],
        "create_evaluation_task": ["project", "type", "expected_response"],
        "get_task": ["task_id"],
        "list_tasks": [],
        "add_task_tags": ["task_id", "tags"],
        "set_task_tags": ["task_id", "tags"],
        "delete_task_tags": ["task_id", "tags"],
        "update_task_unique_id": ["task_id", "unique_id"],
        "delete_task_unique_id": ["task_id"],
        "set_task_metadata": ["task_id", "metadata"],
        "resend_task_callback": ["task_id"],
        "cancel_task": ["task_id"],
        "get_task_response": ["task_id", "uuid"],
        "list_teammates": [],
        "invite_team_member": ["emails", "team_role"],
        "set_teammate_role": ["emails", "team_role"],
        "get_studio_assignments": [],
        "add_studio_assignments": ["emails", "projects"],
        "remove_studio_assignments": ["emails", "projects"],
        "get_studio_batches": [],
        "set_studio_batch_priorities": ["batch_names"],
        "reset_studio_batch_priorities": [],
        "get_fixless_audits": [],
        "get_training_attempts": [],
    }


@every_card
def test_the_words_people_use_are_on_the_card(card: Card):
    assert len(card.keywords) >= 3
    assert all(word == word.lower() for word in card.keywords)
