"""Sign-in, tokens, session API, pages, documents and the rest of what FastAPI serves."""

import re
from typing import Any

import jsonschema
import jwt
import orjson
import pytest
from openapi_spec_validator import validate

from services.ingress.openapi import document
from services.ingress.pages import DASHBOARD, DOCS
from shared.auth import login_code, sign
from shared.messages import COMMANDS
from tests.unit.ingress.conftest import KEY, SECRET, Doors

pytestmark = pytest.mark.anyio
WITH_KEY = {"X-API-Key": KEY}


async def sign_in(doors: Doors, code: str) -> Any:
    return await doors.post("/api/login", orjson.dumps({"code": code}))


async def test_a_sign_in_link_works_once(doors: Doors) -> None:
    code = login_code(SECRET)
    got = await sign_in(doors, code)
    assert got.status == 200
    assert got.headers["cache-control"] == "no-store"
    assert set(got.json()["scopes"]) == {"read", "publish", "admin"}
    headers = {"Authorization": f"Bearer {got.json()['access_token']}"}
    assert (await doors.post("/api/commands/create_session", b"{}", headers)).status == 202
    again = await sign_in(doors, code)
    assert (again.status, again.json()["code"]) == (401, "unauthorized")


async def test_a_sign_in_link_works_once_for_all_who_share_the_folder(make_doors: Any) -> None:
    one, other = await make_doors(), await make_doors()
    code = login_code(SECRET)
    assert (await sign_in(one, code)).status == 200
    assert (await sign_in(other, code)).status == 401


async def test_a_code_that_is_no_sign_in_code_is_401(doors: Doors) -> None:
    expired = sign(SECRET, "login", {"scopes": ["read"]}, ttl_s=-1)
    for code in ("nonsense", expired, sign(SECRET, "api", {"scopes": ["admin"]}, ttl_s=60), KEY):
        assert (await sign_in(doors, code)).status == 401
    assert (await doors.post("/api/login", b"{}")).status == 422
    assert (await doors.post("/api/login", b'{"code":7}')).status == 422


async def test_a_socket_token_says_who_and_what(doors: Doors) -> None:
    asked = {"agent_id": "dash", "kind": "human", "permission": "observer", "topics": ["session.#"], "ttl_s": 60}
    got = await doors.post("/api/tokens", orjson.dumps(asked), WITH_KEY)
    assert got.status == 200
    claims = jwt.decode(got.json()["token"], SECRET, ["HS256"], audience="ws")
    assert {name: claims[name] for name in ("sub", "kind", "permission", "topics")} == {
        "sub": "dash",
        "kind": "human",
        "permission": "observer",
        "topics": ["session.#"],
    }
    assert claims["exp"] - int(claims["iat"]) == 60
    assert claims["jti"] == got.json()["token_id"]
    assert got.json()["scopes"] == claims["scopes"] == ["read"]
    assert re.fullmatch(r"\d{4}-.*Z", got.json()["expires"])


async def test_an_active_socket_token_needs_the_scope_to_publish(doors: Doors) -> None:
    reader = {"Authorization": f"Bearer {sign(SECRET, 'api', {'name': 'r', 'scopes': ['read']}, ttl_s=60)}"}
    observer, active = b'{"agent_id":"a"}', b'{"agent_id":"a","permission":"active"}'
    assert (await doors.post("/api/tokens", observer, reader)).status == 200
    assert (await doors.post("/api/tokens", active, reader)).status == 403
    assert (await doors.post("/api/tokens", active, WITH_KEY)).status == 200
    assert (await doors.post("/api/tokens", active)).status == 401
    for wrong in (
        b"{}",
        b'{"agent_id":"a","kind":"dog"}',
        b'{"agent_id":"a","ttl_s":0}',
        b'{"agent_id":"a","x":1}',
        b'{"agent_id":"a","topics":["a..b"]}',
        b'{"agent_id":"a","topics":["a*"]}',
        b'{"agent_id":"a","topics":["a b"]}',
        b"[]",
    ):
        assert (await doors.post("/api/tokens", wrong, WITH_KEY)).status == 422


async def test_the_session_api_takes_both_spellings(doors: Doors) -> None:
    body = b'{"sessionId":"s1","userId":"u","initial":{"someKey":1.50},"participants":["a"]}'
    assert (await doors.post("/api/sessions", body, WITH_KEY)).status == 202
    assert (await doors.post("/api/sessions", b'{"session_id":"s2"}', WITH_KEY)).status == 202
    first, second = await doors.kept()
    assert first["command"] == "create_session"
    assert first["data"] == {"session_id": "s1", "user_id": "u", "initial": {"someKey": 1.5}, "participants": ["a"]}
    assert b'"initial":{"someKey":1.50}' in (await doors.kept_texts())[0]
    assert second["data"] == {"session_id": "s2"}


async def test_a_wrong_field_of_the_session_api_is_named(doors: Doors) -> None:
    got = await doors.post("/api/sessions", b'{"sesionId":"s1"}', WITH_KEY)
    assert (got.status, got.json()["code"]) == (422, "invalid")
    assert "sesion_id" in got.json()["detail"]
    assert (await doors.post("/api/sessions", b"{}")).status == 401
    assert (await doors.post("/api/sessions", b'"' + b"x" * 1_000_000 + b'"', WITH_KEY)).status == 413


@pytest.mark.parametrize("path", ["/api/sessions/s1", "/api/query/recent", "/api/query/active", "/api/deliveries",
                                  "/api/deliveries/a/b", "/api/dead-letters"])  # fmt: skip
async def test_reading_routes_ask_the_workers_and_want_a_key(doors: Doors, path: str) -> None:
    assert (await doors.send("GET", path)).status == 401
    got = await doors.send("GET", path, headers=WITH_KEY)
    assert (got.status, got.headers["content-type"]) == (503, "application/problem+json")


@pytest.mark.parametrize("query", ["limit=0", "limit=501", "limit=x", "cursor=" + "c" * 4_001])
async def test_a_wrong_parameter_is_422_and_named(doors: Doors, query: str) -> None:
    got = await doors.send("GET", "/api/query/recent", headers=WITH_KEY, query=query)
    assert (got.status, got.json()["code"]) == (422, "invalid")
    assert query.split("=")[0] in got.json()["detail"]


async def test_only_an_admin_redrives_dead_letters(doors: Doors) -> None:
    writer = {"Authorization": f"Bearer {sign(SECRET, 'api', {'name': 'w', 'scopes': ['publish']}, ttl_s=60)}"}
    assert (await doors.post("/api/dead-letters/redrive", b"{}", writer)).status == 403
    assert (await doors.post("/api/dead-letters/redrive", b'{"dead_letter_ids":[1]}', WITH_KEY)).status == 202
    assert (await doors.kept())[0]["command"] == "redrive_dead_letters"


async def test_what_is_not_there_is_a_problem_too(doors: Doors) -> None:
    got = await doors.send("GET", "/nowhere")
    assert (got.status, got.headers["content-type"], got.json()["code"]) == (
        404,
        "application/problem+json",
        "not_found",
    )
    got = await doors.send("DELETE", "/api/sessions")
    assert (got.status, got.json()["status"], got.json()["detail"]) == (
        405,
        405,
        "/api/sessions takes POST, not DELETE",
    )
    for path, allowed in (("/api/config", "GET, HEAD"), ("/api/commands/get_task", "GET, HEAD, POST")):
        got = await doors.send("PUT", path)
        assert (got.status, got.headers["allow"]) == (405, allowed)


async def test_a_page_learns_where_the_gateway_is(doors: Doors) -> None:
    got = await doors.send("GET", "/api/config")
    assert got.json() == {"gateway_url": "ws://127.0.0.1:8001/ws", "version": "1.2.3"}


@pytest.mark.parametrize("path", ["/", "/docs", "/docs/assets/start.js", "/dashboard/app.js"])
async def test_pages_come_with_a_strict_policy(doors: Doors, path: str) -> None:
    got = await doors.send("GET", path)
    assert got.status == 200
    policy = got.headers["content-security-policy"]
    assert policy == (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; "
        "connect-src 'self' ws://127.0.0.1:8001; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    assert got.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(
    "path", ["/dashboard/../pyproject.toml", "/dashboard/%2e%2e/pyproject.toml", "/dashboard/nothing"]
)
async def test_nothing_outside_the_dashboard_is_served(doors: Doors, path: str) -> None:
    assert (await doors.send("GET", path)).status == 404


def test_the_documentation_page_loads_nothing_from_elsewhere() -> None:
    page = (DOCS / "index.html").read_text()
    for address in re.findall(r'(?:src|href)="([^"]+)"', page):
        assert address.startswith("/")
        if address.startswith("/docs/assets/"):
            assert (DOCS / address.removeprefix("/docs/assets/")).exists()
    assert "<script>" not in page
    assert (DASHBOARD / "index.html").exists()


def test_the_openapi_document_is_valid_and_has_every_public_command() -> None:
    made = document()
    validate(made)
    operations = [operation for path in made["paths"].values() for operation in path.values()]
    ids = [operation["operationId"] for operation in operations]
    assert len(ids) == len(set(ids))
    assert all(0 < len(operation["summary"]) <= 300 for operation in operations)
    for spec in COMMANDS.values():
        assert (f"/api/commands/{spec.name}" in made["paths"]) == spec.public
    assert "$defs" not in orjson.dumps(made).decode()


def test_every_command_of_the_openapi_document_has_an_example_that_fits() -> None:
    made = document()
    for spec in COMMANDS.values():
        if spec.public:
            body = made["paths"][f"/api/commands/{spec.name}"]["post"]["requestBody"]["content"]["application/json"]
            assert body["example"] == spec.example
            schema = {**body["schema"], "components": made["components"]}
            jsonschema.Draft202012Validator(schema).validate(body["example"])


def test_the_openapi_document_is_the_same_every_time() -> None:
    assert document() == document()
