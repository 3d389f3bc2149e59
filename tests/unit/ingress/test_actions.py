"""The document for ChatGPT Actions keeps within what Actions take."""

from collections.abc import Iterator
from typing import Any

import jsonschema
import pytest
from openapi_spec_validator import validate
from starlette.requests import Request

from services.ingress.actions import actions, chosen_commands
from services.ingress.openapi import server_url
from shared.messages import COMMANDS

DOCUMENT = actions("https://switchyard.example", "1.2.3")
OPERATIONS = [(path, operation) for path, item in DOCUMENT["paths"].items() for operation in item.values()]


def described(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        for name in ("description", "summary"):
            if isinstance(node.get(name), str):
                yield node[name]
        for value in node.values():
            yield from described(value)
    elif isinstance(node, list):
        for value in node:
            yield from described(value)


def objects(node: Any) -> Iterator[dict[str, Any]]:
    if isinstance(node, dict):
        if node.get("type") == "object":
            yield node
        for value in node.values():
            yield from objects(value)
    elif isinstance(node, list):
        for value in node:
            yield from objects(value)


def test_the_document_is_valid_openapi() -> None:
    validate(DOCUMENT)


def test_there_are_at_most_30_operations_each_with_a_name_of_its_own() -> None:
    names = [operation["operationId"] for _, operation in OPERATIONS]
    assert len(names) <= 30
    assert len(set(names)) == len(names)
    assert {"run_command", "get_command", "store_memory", "get_state", "update_state", "delegate_task"} <= set(names)


def test_every_command_but_those_for_admins_is_reached_by_one_way() -> None:
    own = {operation["operationId"] for _, operation in OPERATIONS} - {"run_command", "get_command"}
    form = DOCUMENT["paths"]["/api/commands"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    general = set(form["properties"]["command"]["enum"])
    assert not own & general
    assert own | general == {spec.name for spec in COMMANDS.values() if spec.public and spec.scope != "admin"}
    assert not any(COMMANDS[name].destructive for name in own)


def test_reading_commands_come_first_and_ask_for_no_consent() -> None:
    chosen, _ = chosen_commands()
    assert [spec.reads for spec in chosen] == sorted((spec.reads for spec in chosen), reverse=True)
    for _, operation in OPERATIONS:
        reads = COMMANDS[operation["operationId"]].reads if operation["operationId"] != "run_command" else False
        assert operation["x-openai-isConsequential"] == (not reads)


def test_no_description_is_longer_than_300_characters() -> None:
    texts = list(described(DOCUMENT))
    assert len(texts) > 100
    assert max(map(len, texts)) <= 300


def test_every_operation_has_a_summary() -> None:
    for _, operation in OPERATIONS:
        assert operation["summary"]


def test_no_parameter_is_a_header_or_described_at_length() -> None:
    parameters = [each for _, operation in OPERATIONS for each in operation.get("parameters", [])]
    assert {each["in"] for each in parameters} <= {"path", "query"}
    assert all(len(each["description"]) <= 700 for each in parameters)


def test_nothing_may_take_longer_than_45_seconds() -> None:
    form = DOCUMENT["paths"]["/api/commands"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert form["properties"]["wait_s"]["maximum"] < 45
    # Without a Prefer header the other operations wait 10 s.


def test_every_object_names_its_properties() -> None:
    assert all("properties" in each for each in objects(DOCUMENT["paths"]))
    assert all("properties" in each for each in objects(DOCUMENT["components"]["schemas"]))


def test_there_is_one_server_and_one_key() -> None:
    assert DOCUMENT["servers"] == [{"url": "https://switchyard.example"}]
    assert DOCUMENT["security"] == [{"bearer": []}]
    assert DOCUMENT["components"]["securitySchemes"]["bearer"]["scheme"] == "bearer"


@pytest.mark.parametrize(("path", "operation"), OPERATIONS, ids=[path for path, _ in OPERATIONS])
def test_every_body_is_json_and_its_example_fits_its_schema(path: str, operation: dict[str, Any]) -> None:
    if (body := operation.get("requestBody")) is None:
        assert path == "/api/commands/{message_id}"
        return
    assert set(body["content"]) == {"application/json"}
    content = body["content"]["application/json"]
    schema = {**content["schema"], "components": DOCUMENT["components"]}
    jsonschema.Draft202012Validator(schema).validate(content["example"])


def test_making_it_changes_nothing_for_the_next_one() -> None:
    assert actions("https://switchyard.example", "1.2.3") == DOCUMENT


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"Host": "127.0.0.1:8000"}, "http://127.0.0.1:8000"),
        ({"Host": "edge", "X-Forwarded-Proto": "https", "X-Forwarded-Host": "sy.example"}, "https://sy.example"),
        ({"Host": "[::1]:8000"}, "http://[::1]:8000"),
        ({"Host": "evil.example/<script>"}, "http://127.0.0.1"),
        ({"Host": "sy.example", "X-Forwarded-Proto": "gopher"}, "http://127.0.0.1"),
        ({}, "http://127.0.0.1"),
    ],
)
def test_the_server_is_the_one_the_request_was_sent_to(headers: dict[str, str], expected: str) -> None:
    sent = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    scope = {"type": "http", "scheme": "http", "path": "/", "server": ("127.0.0.1", 80), "headers": sent}
    assert server_url(Request(scope)) == expected
