"""The API reference as a page wants it, made from the OpenAPI document."""

from __future__ import annotations

import json
from typing import Any, Final

_EXAMPLES: Final = {"string": "string", "integer": 0, "number": 0, "boolean": True, "null": None}
_DEPTH: Final = 6
_FIRST: Final = ("Session", "Sessions", "Password", "Factors")


def reference(document: dict[str, Any]) -> dict[str, Any]:
    """Groups of operations by tag, signing in first, then in the document's order."""
    groups: dict[str, list[dict[str, Any]]] = {}
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            for tag in operation["tags"][:1]:
                groups.setdefault(tag, []).append(_operation(document, path, method, operation))
    info = document["info"]
    # First what everybody meets.
    named = sorted(groups.items(), key=lambda group: _FIRST.index(group[0]) if group[0] in _FIRST else len(_FIRST))
    return {
        "info": {"title": info["title"], "version": info["version"], "description": info["description"]},
        "groups": [
            {"slug": name.lower(), "name": name, "description": "", "operations": found} for name, found in named
        ],
    }


def _operation(document: dict[str, Any], path: str, method: str, operation: dict[str, Any]) -> dict[str, Any]:
    body = operation.get("requestBody", {}).get("content", {})
    return {
        "slug": operation["operationId"],
        "method": method,
        "path": path,
        "summary": operation["summary"],
        "description": operation.get("description", ""),
        "parameters": [
            {
                "name": one["name"],
                "place": one["in"],
                "type": _type(document, one["schema"]),
                "required": one["required"],
                "description": one.get("description", ""),
            }
            for one in operation.get("parameters", ())
        ],
        "request": next(
            (
                {"content_type": kind, "example": _example(document, content["schema"])}
                for kind, content in body.items()
            ),
            None,
        ),
        "responses": [_response(document, status, one) for status, one in sorted(operation["responses"].items())],
    }


def _response(document: dict[str, Any], status: str, response: dict[str, Any]) -> dict[str, Any]:
    kind: str | None = next(iter(response.get("content", ())), None)
    schema = response["content"][kind].get("schema") if kind is not None else None
    # One problem looks like another: an example of each would bury the answer itself.
    shown = _example(document, schema) if status.startswith("2") and schema else None
    return {"status": status, "description": response["description"], "content_type": kind, "example": shown}


def _example(document: dict[str, Any], schema: dict[str, Any]) -> str:
    return json.dumps(_value(document, schema, _DEPTH), indent=2)


def _value(document: dict[str, Any], schema: dict[str, Any], depth: int) -> Any:
    schema = _resolve(document, schema)
    if depth == 0:
        return None
    if "const" in schema:
        return schema["const"]
    if schema.get("enum"):
        return schema["enum"][0]
    if "anyOf" in schema:
        return _value(document, schema["anyOf"][0], depth)
    match schema.get("type"):
        case "object":
            return {name: _value(document, one, depth - 1) for name, one in schema.get("properties", {}).items()}
        case "array":
            return [_value(document, schema.get("items", {}), depth - 1)]
        case "string" if schema.get("format") == "date-time":
            return "2026-11-24T14:03:00Z"
        case kind:
            return _EXAMPLES.get(str(kind))


def _type(document: dict[str, Any], schema: dict[str, Any]) -> str:
    schema = _resolve(document, schema)
    if "anyOf" in schema:
        return " or ".join(_type(document, one) for one in schema["anyOf"] if one.get("type") != "null")
    if schema.get("enum"):
        return " | ".join(str(one) for one in schema["enum"])
    return str(schema.get("const", schema.get("type", "any")))


def _resolve(document: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    while "$ref" in schema:
        schema = document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    return schema
