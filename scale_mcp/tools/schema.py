"""JSON Schemas that every host accepts and that cost few tokens.

Pydantic's own schemas carry titles, references and unions with null, which some model providers refuse and every
context window pays for. Here they are rewritten: references inlined, optional simply means "not required", one
``type`` each, and bounds that hosts disagree on left to the checks in the models.
"""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from scale_mcp.tools.card import Card

Schema = dict[str, Any]

_DROPPED = ("title", "$defs", "exclusiveMinimum", "exclusiveMaximum", "discriminator")


def input_schema(card: Card) -> Schema:
    """What the tool takes: an object with nothing but the named properties, the required ones first."""
    model = card.input_model
    raw = model.model_json_schema(by_alias=True)
    lean = _lean(raw, raw.get("$defs", {}), ())
    properties: Schema = lean.get("properties", {})
    required: list[str] = lean.get("required", [])
    schema: Schema = {
        "type": "object",
        "properties": {name: properties[name] for name in _ordered(model, required)},
    }
    if required:
        schema["required"] = required
    schema["additionalProperties"] = False
    return schema


def output_schema(card: Card) -> Schema:
    """What ``structuredContent`` holds. Further fields may come: Scale's API grows."""
    raw = card.output_model.model_json_schema(by_alias=True, mode="serialization")
    lean = _lean(raw, raw.get("$defs", {}), ())
    lean.pop("description", None)
    return {"type": "object", **{key: value for key, value in lean.items() if key != "type"}}


def _ordered(model: type[BaseModel], required: list[str]) -> list[str]:
    """Required properties, then the model's own, then inherited ones: what makes a tool special comes first."""
    depth: dict[str, int] = {}
    for distance, base in enumerate(model.__mro__):
        for name in getattr(base, "__annotations__", {}):
            depth.setdefault(name, distance)
    names = list(model.model_fields)
    return sorted(names, key=lambda name: (name not in required, depth.get(name, 0), names.index(name)))


def _lean(node: Any, definitions: Schema, inside: tuple[str, ...]) -> Any:
    if isinstance(node, list):
        return [_lean(item, definitions, inside) for item in node]
    if not isinstance(node, dict):
        return node
    if "$ref" in node:
        return _inlined(node, definitions, inside)
    node = _without_null(node, definitions, inside)
    lean: Schema = {}
    for key, value in node.items():
        if key in _DROPPED or (key == "default" and (value is None or value is False or value == 0)):
            continue
        if key == "const":
            lean["enum"] = [value]
        elif (key == "additionalProperties" and isinstance(value, bool)) or _goes_without_saying(key, value, node):
            continue
        elif key == "properties":
            lean[key] = {name: _lean(child, definitions, inside) for name, child in value.items()}
        else:
            lean[key] = _lean(value, definitions, inside) if key not in ("enum", "default", "required") else value
    if lean.get("type") == "array" and not lean.get("items"):
        lean["items"] = {}
    return lean


def _goes_without_saying(key: str, value: Any, node: Schema) -> bool:
    """Bounds that nobody would cross on purpose. They are checked all the same."""
    return (key in ("minItems", "minLength") and value == 1) or (
        key == "minimum" and value <= 1 and "maximum" not in node
    )


def _inlined(node: Schema, definitions: Schema, inside: tuple[str, ...]) -> Schema:
    """The definition in place of its reference. A definition within itself becomes a plain object."""
    name = node["$ref"].rsplit("/", 1)[-1]
    siblings = {key: value for key, value in node.items() if key != "$ref"}
    if name in inside:
        return {"type": "object", **siblings}
    lean: Schema = _lean(definitions[name], definitions, (*inside, name))
    lean.pop("description", None)  # of the model, meant for readers of the code
    return {**lean, **siblings}


def _without_null(node: Schema, definitions: Schema, inside: tuple[str, ...]) -> Schema:
    """``anyOf[X, null]`` as plain X: an optional parameter is left out, not null."""
    union = node.get("anyOf") or node.get("oneOf")
    if not union:
        return node
    rest = {key: value for key, value in node.items() if key not in ("anyOf", "oneOf")}
    forms = [form for form in union if form != {"type": "null"}]
    if len(forms) == 1:
        return {**_lean(forms[0], definitions, inside), **rest}
    return {"anyOf": forms, **rest}
