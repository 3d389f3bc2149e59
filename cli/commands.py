"""The commands there are, for whoever wants to send one: by area, and one with its fields and an example."""

import difflib
import json
import shlex
from collections.abc import Mapping
from typing import Any, NoReturn

import typer
from rich.text import Text

from cli.screen import fail, out
from cli.tables import Column, print_table, screen_width
from shared.messages import COMMANDS, CommandSpec, encode
from shared.messages.commands import ALIASES

PUBLIC = {name: spec for name, spec in COMMANDS.items() if spec.public}


def print_commands(*, as_json: bool) -> None:
    """Every public command with what it does, by area."""
    areas = sorted({spec.area for spec in PUBLIC.values()})
    if as_json:
        names = {area: [name for name, spec in PUBLIC.items() if spec.area == area] for area in areas}
        typer.echo(json.dumps(names))
        return
    width = max(map(len, PUBLIC)) + 2
    for area in areas:
        out.print(Text(area, style="bold"))
        for name, spec in PUBLIC.items():
            if spec.area == area:
                line = Text(f"  {name.ljust(width)}").append(spec.summary, style="dim")
                if room := screen_width():
                    line.truncate(room, overflow="ellipsis")
                out.print(line)
    out.print("\n`switchyard send COMMAND --explain` shows a command's fields and an example.", markup=False)


def explain_command(name: str, *, as_json: bool) -> None:
    """What a command does, the fields of its data, what its result holds, and an example that can be sent."""
    spec = PUBLIC.get(ALIASES.get(name, name)) or no_such_command(name)
    schema = spec.data.model_json_schema()
    if as_json:
        typer.echo(
            encode({"command": spec.name, "scope": spec.scope, "data": schema, "example": spec.example}).decode()
        )
        return
    out.print(Text(spec.name, style="bold") + Text(f"  (area {spec.area}, needs a key with the scope {spec.scope})"))
    out.print(Text((spec.data.__doc__ or "").strip().replace("\n    ", "\n")))
    if fields := _fields(schema):
        out.print()
        print_table(
            [Column("FIELD", "name", whole=True), Column("TYPE", "type"), Column("", "given", whole=True)], fields
        )
    out.print(f"\nResult: {', '.join(spec.result)}", markup=False)
    out.print(f"\n{example_line(spec)}", markup=False)


def example_line(spec: CommandSpec) -> str:
    """The command's example as it is typed into a shell."""
    words = ["switchyard", "send", spec.name]
    for name, value in json.loads(encode(spec.example)).items():
        if isinstance(value, str):
            words.append(f"{name}={value}")
        else:
            words.append(f"{name}:={json.dumps(value, ensure_ascii=False)}")
    return shlex.join(words)


def no_such_command(name: str) -> NoReturn:
    """End with the names that were perhaps meant."""
    meant = difflib.get_close_matches(name, [*PUBLIC, *ALIASES], n=3)
    near = f" Did you mean {' or '.join(meant)}?" if meant else ""
    fail(f"There is no command {name}.{near} `switchyard send --list` names them all.", 2)


def _fields(schema: Mapping[str, Any]) -> list[dict[str, str]]:
    needed = schema.get("required", [])
    found = []
    for name, field in schema.get("properties", {}).items():
        default = field.get("default")
        given = "required" if name in needed else "" if default in (None, []) else f"default {json.dumps(default)}"
        found.append({"name": name, "type": type_in_words(field, schema), "given": given})
    return found


def type_in_words(field: Mapping[str, Any], schema: Mapping[str, Any]) -> str:
    """A field's JSON schema in a few words: `text`, `a|b|c`, `list of text`, `whole number 0 to 9`."""
    if reference := field.get("$ref"):
        return type_in_words(schema["$defs"][reference.rpartition("/")[2]], schema)
    if choices := field.get("anyOf"):
        words = [type_in_words(choice, schema) for choice in choices if choice.get("type") != "null"]
        return " or ".join(dict.fromkeys(words))
    if options := field.get("enum"):
        return "|".join(map(str, options))
    match field.get("type"):
        case "string":
            return "text"
        case "integer" | "number" as kind:
            return ("whole number" if kind == "integer" else "number") + _range(field)
        case "boolean":
            return "true or false"
        case "array":
            return f"list of {type_in_words(field.get('items', {}), schema)}"
        case "object":
            return "JSON object"
    return str(field["const"]) if "const" in field else "any JSON"


def _range(field: Mapping[str, Any]) -> str:
    low, high = field.get("minimum"), field.get("maximum")
    if low is not None and high is not None:
        return f" {low} to {high}"
    return f" from {low}" if low is not None else f" up to {high}" if high is not None else ""
