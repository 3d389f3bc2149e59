"""Write, or with `--check` compare, the generated documents: AsyncAPI, OpenAPI, and OpenAPI for ChatGPT Actions."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml
from pydantic import TypeAdapter

from services.ingress.actions import actions
from services.ingress.openapi import document as openapi_document
from shared import __version__
from shared.bus import topology
from shared.messages import COMMANDS, EVENTS, CommandSpec, Event
from shared.messages.commands import CommandEnvelope
from shared.messages.envelope import OPTIONAL

HERE = Path(__file__).parent
DESCRIPTION = """\
Publish commands to the commands exchange with an AMQP client of your own, or bind a queue of your own to the events
exchange. A reply to a command goes to its `reply_to`, as `{"ok": true, "result"}` or
`{"ok": false, "error": {"code", "message", "details"}}`. In a routing key a dot, `*`, `#` or a space of an id is `_`.

Commands of the area `chat` that name a room and a bot are handled in their order within a partition. Published as
`chat.<command>` they find their way; with the partition as a third word (`chat.chat_message.07`) they keep their order
with those that came in by another door. It is BLAKE2b with a digest of one byte over `<room_id>\\n<bot_id>`, modulo
16, in two digits.
"""


def asyncapi_document() -> dict[str, Any]:
    """AsyncAPI 3.0 of the bus: every command on the commands exchange, every event on the events exchange."""
    schemas: dict[str, Any] = {}
    messages = {spec.name: _command_message(spec, schemas) for spec in COMMANDS.values()}
    messages |= {name: _event_message(event, schemas) for name, event in sorted(EVENTS.items())}
    commands = {
        spec.routing_key: _channel(topology.COMMANDS, spec.routing_key, spec.name) for spec in COMMANDS.values()
    }
    events = {event.topic: _channel(topology.EVENTS, event.topic, name) for name, event in sorted(EVENTS.items())}
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Switchyard bus",
            "version": "1",
            "description": DESCRIPTION,
            "license": {"name": "MIT"},
        },
        "defaultContentType": "application/json",
        "channels": commands | events,
        "operations": {
            **{
                f"send_{spec.name}": _operation("receive", spec.routing_key, spec.summary) for spec in COMMANDS.values()
            },
            **{f"hear_{name}": _operation("send", event.topic, _first_line(event)) for name, event in EVENTS.items()},
        },
        "components": {"messages": messages, "schemas": dict(sorted(schemas.items()))},
    }


def _operation(action: str, channel: str, summary: str) -> dict[str, Any]:
    return {"action": action, "summary": summary, "channel": {"$ref": f"#/channels/{_pointer(channel)}"}}


def _channel(exchange: str, address: str, message: str) -> dict[str, Any]:
    channel: dict[str, Any] = {
        "address": address,
        "messages": {message: {"$ref": f"#/components/messages/{message}"}},
        "bindings": {"amqp": {"is": "routingKey", "exchange": {"name": exchange, "type": "topic", "durable": True}}},
    }
    if names := [part[1 : part.index("}")] for part in address.split(".") if part.startswith("{")]:
        channel["parameters"] = {name: {} for name in names}
    return channel


def _command_message(spec: CommandSpec, schemas: dict[str, Any]) -> dict[str, Any]:
    envelope = _schema(CommandEnvelope, "validation", schemas)
    data = _schema(spec.data, "validation", schemas)
    return {
        "summary": spec.summary,
        "payload": {"allOf": [envelope, {"properties": {"command": {"const": spec.name}, "data": data}}]},
    }


def _event_message(event: type[Event], schemas: dict[str, Any]) -> dict[str, Any]:
    payload = _schema(event, "serialization", schemas)
    # Left out of the envelope when they are not set.
    required = schemas[event.__name__]["required"]
    schemas[event.__name__]["required"] = [name for name in required if name not in OPTIONAL]
    return {"summary": _first_line(event), "payload": payload}


def _schema(model: type, mode: Any, schemas: dict[str, Any]) -> dict[str, Any]:
    schema = TypeAdapter(model).json_schema(mode=mode, ref_template="#/components/schemas/{model}")
    schemas.update(schema.pop("$defs", {}))
    schemas[model.__name__] = schema
    return {"$ref": f"#/components/schemas/{model.__name__}"}


def _first_line(documented: type) -> str:
    return (documented.__doc__ or "").strip().split("\n")[0]


def _pointer(name: str) -> str:
    return name.replace("~", "~0").replace("/", "~1")


def _json(document: dict[str, Any]) -> str:
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"


DOCUMENTS: dict[str, Callable[[], str]] = {
    "asyncapi.yaml": lambda: yaml.safe_dump(asyncapi_document(), sort_keys=False, width=120, allow_unicode=True),
    "openapi.json": lambda: _json(openapi_document()),
    "openapi-actions.json": lambda: _json(actions("https://switchyard.example.com", __version__)),
}


def main() -> int:
    """Write the documents; with `--check` write nothing and return 1 when one of them is out of date."""
    stale = []
    for name, make in DOCUMENTS.items():
        path, text = HERE / name, make()
        if "--check" in sys.argv:
            if not path.exists() or path.read_text() != text:
                stale.append(name)
        else:
            path.write_text(text)
    if stale:
        print(f"out of date: {', '.join(f'docs/{name}' for name in stale)}; run `python -m docs.generate`")
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
