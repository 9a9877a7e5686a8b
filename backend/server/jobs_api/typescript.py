"""The types of ``/api/v2`` for TypeScript, made from its OpenAPI document.

python -m backend.server.jobs_api.typescript > docs/client/atelier.d.ts
"""

import json
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

HEADING = """// The types of Atelier's interface for programs, /api/v2.
// Made from its OpenAPI document by: python -m backend.server.jobs_api.typescript
"""
PLAIN: Mapping[str, str] = {"string": "string", "integer": "number", "number": "number", "boolean": "boolean"}
LONGEST_WORDS = 110  # characters of a line of a comment


def typescript(document: Mapping[str, Any]) -> str:
    """Every schema as an interface or a type, and every operation with its body and its answer."""
    parts = [HEADING]
    for name, schema in sorted(document["components"]["schemas"].items()):
        parts.append("".join(_named(name, schema)))
    parts.append("".join(_operations(document["paths"])))
    return "\n".join(parts)


def _named(name: str, schema: Mapping[str, Any]) -> Iterator[str]:
    yield from _comment(schema.get("description", ""), "")
    if schema.get("type") != "object":
        yield f"export type {name} = {_type(schema)};\n"
        return
    yield f"export interface {name} {{\n"
    required = schema.get("required", ())
    for field, each in schema["properties"].items():
        yield from _comment(each.get("description", ""), "  ")
        yield f"  {field}{'' if field in required else '?'}: {_type(each)};\n"
    yield "}\n"


def _comment(words: str, indent: str) -> Iterator[str]:
    lines = [line for line in words.splitlines() if line.strip()]
    if len(lines) == 1 and len(lines[0]) < LONGEST_WORDS:
        yield f"{indent}/** {lines[0]} */\n"
    elif lines:
        yield f"{indent}/**\n"
        yield from (f"{indent} * {line.strip()}\n" for line in lines)
        yield f"{indent} */\n"


def _type(schema: Mapping[str, Any]) -> str:
    if "$ref" in schema:
        return schema["$ref"].rpartition("/")[2]
    if "const" in schema:
        return json.dumps(schema["const"])
    if "enum" in schema:
        return " | ".join(json.dumps(value) for value in schema["enum"])
    for several in ("anyOf", "oneOf"):
        if several in schema:
            return " | ".join(_type(each) for each in schema[several])
    kind = schema["type"]
    if kind == "null":
        return "null"
    if kind == "array":
        if "prefixItems" in schema:
            return f"[{', '.join(_type(each) for each in schema['prefixItems'])}]"
        return f"Array<{_type(schema['items'])}>"
    if kind == "object":
        inner = schema.get("additionalProperties")
        return f"{{ [name: string]: {_type(inner) if isinstance(inner, Mapping) and inner else 'unknown'} }}"
    return "Blob" if schema.get("format") == "binary" else PLAIN[kind]


def _operations(paths: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    yield "/** What each address takes and answers; a status of 400 and above answers a `Problem`. */\n"
    yield "export interface Operations {\n"
    for path, methods in paths.items():
        for method, operation in methods.items():
            answers = [answer for status, answer in operation["responses"].items() if status < "300"]
            body = _content(operation.get("requestBody", {})) or "undefined"
            answer = next(filter(None, map(_content, answers)), "undefined")
            yield f'  "{method.upper()} {path}": {{ body: {body}; answer: {answer} }};\n'
    yield "}\n"


def _content(described: Mapping[str, Any]) -> str:
    kinds = [_type(each["schema"]) for each in described.get("content", {}).values() if each.get("schema")]
    return " | ".join(dict.fromkeys(kinds))


def main() -> None:
    """Print the file."""
    from backend.app import App, Options
    from backend.server.jobs_api import described

    with tempfile.TemporaryDirectory() as folder:
        app = App(Options(data_dir=Path(folder)))
        try:
            sys.stdout.write(typescript(described(app)))
        finally:
            app.close()


if __name__ == "__main__":
    main()
