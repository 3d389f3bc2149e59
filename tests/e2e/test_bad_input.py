"""What is well-formed and yet wrong, for every command: unknown and closed sessions, ids that were used before."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import uuid4

import httpx
import pytest

from shared.messages import COMMANDS, CommandSpec
from tests.e2e.conftest import Doors
from tests.e2e.scenarios import Data
from tests.waiting import eventually

PUBLIC = [spec for spec in COMMANDS.values() if spec.public]


def speaks_of_a_session(spec: CommandSpec) -> bool:
    """Whether a command can't do without a session that is there."""
    field = spec.data.model_fields.get("session_id")
    return field is not None and field.is_required()


OPENING = ("create_session", "import_session")
IN_A_SESSION = [spec.name for spec in PUBLIC if speaks_of_a_session(spec) and spec.name not in OPENING]
INTO_A_SESSION = [spec.name for spec in PUBLIC if spec.needs_session]
NOT_FOR_ADMINS = [spec.name for spec in PUBLIC if spec.scope != "admin"]
WRITING = [spec.name for spec in PUBLIC if not spec.reads]


def send(doors: Doors, name: str, data: Data, **headers: str) -> httpx.Response:
    """A command, whatever becomes of it; refusals that need no wait don't get one."""
    return doors.http.post(
        f"/api/commands/{name}",
        json=data,
        headers={header.replace("_", "-"): value for header, value in headers.items()},
    )


def in_session(name: str, session_id: str) -> Data:
    """A command's example, in another session."""
    return {**COMMANDS[name].example, "session_id": session_id}


@pytest.fixture(scope="module")
def closed(stack: Any) -> str:
    """A session that was completed."""
    doors = Doors(stack)
    session_id = doors.session()
    doors.command("complete_session", session_id=session_id)
    doors.http.close()
    return session_id


@pytest.fixture(scope="module")
def confined(stack: Any) -> str:
    """A key that may do everything but administer, in one session."""
    doors = Doors(stack)
    name = f"confined-{uuid4().hex[:6]}"
    made = doors.command("create_key", name=name, scopes=["read", "publish", "agent"], sessions=["mine"])
    doors.command("create_session", session_id="mine")
    eventually(lambda: send(doors, "get_session", {"session_id": "mine"}, X_API_Key=made["secret"]).is_success)
    doors.http.close()
    secret: str = made["secret"]
    return secret


def test_most_commands_are_about_a_session() -> None:
    assert len(IN_A_SESSION) > 20
    assert len(INTO_A_SESSION) > 10
    assert set(INTO_A_SESSION) <= set(WRITING)


@pytest.fixture(scope="module")
def into_nowhere(stack: Any) -> dict[str, httpx.Response]:
    """What each command says of a session nobody opened, asked side by side: some wait for it a while."""
    doors = Doors(stack)
    with ThreadPoolExecutor(8) as pool:
        answers = pool.map(lambda name: send(doors, name, in_session(name, f"nobody-{name}")), IN_A_SESSION)
        found = dict(zip(IN_A_SESSION, answers, strict=True))
    doors.http.close()
    return found


@pytest.mark.parametrize("name", IN_A_SESSION)
def test_a_session_nobody_opened_is_404_and_named(into_nowhere: dict[str, httpx.Response], name: str) -> None:
    got, nobody = into_nowhere[name], f"nobody-{name}"
    assert got.status_code == 404, got.text
    assert got.json()["code"] == "not_found"
    assert nobody in got.json()["detail"]


@pytest.mark.parametrize("name", INTO_A_SESSION)
def test_nothing_is_written_to_a_closed_session(doors: Doors, closed: str, name: str) -> None:
    got = send(doors, name, in_session(name, closed))
    assert got.status_code == 409, got.text
    assert got.json()["code"] == "conflict"
    assert "completed" in got.json()["detail"]


@pytest.mark.parametrize("name", NOT_FOR_ADMINS)
def test_a_key_for_one_session_gets_into_no_other(doors: Doors, confined: str, name: str) -> None:
    spec = COMMANDS[name]
    elsewhere = {**spec.example, "session_id": "theirs"} if "session_id" in spec.data.model_fields else spec.example
    nowhere = {field: value for field, value in elsewhere.items() if field != "session_id"}
    for data in [elsewhere] if speaks_of_a_session(spec) else [elsewhere, nowhere]:
        got = send(doors, name, data, X_API_Key=confined)
        assert (got.status_code, got.json()["code"]) == (403, "forbidden"), got.text


@pytest.mark.parametrize("name", WRITING)
def test_the_same_id_with_other_content_is_409(doors: Doors, name: str) -> None:
    session_id, message_id = doors.session(), str(uuid4())
    data = {field: value for field, value in COMMANDS[name].example.items() if field != "wait_s"}
    if "session_id" in COMMANDS[name].data.model_fields:
        data = {**data, "session_id": session_id}
    first = send(doors, name, data, Idempotency_Key=message_id)
    assert first.status_code in (200, 201, 404, 409, 422), first.text
    again = send(doors, name, data, Idempotency_Key=message_id)
    assert (again.status_code, again.json().get("detail")) == (first.status_code, first.json().get("detail"))
    if first.is_success:
        assert again.content == first.content
    other = send(doors, "create_session", {"title": "other content"}, Idempotency_Key=message_id)
    if first.status_code == 422:  # refused at the door, so the id was not used
        assert other.status_code == 201
        return
    assert other.status_code == 409, other.text
    assert other.json()["code"] == "conflict"
    assert message_id in other.json()["detail"]


def test_the_same_id_with_other_data_for_the_same_command_is_409(doors: Doors) -> None:
    session_id, message_id = doors.session(), str(uuid4())
    memory = {"session_id": session_id, "type": "fact", "key": "k", "content": 1}
    assert send(doors, "store_memory", memory, Idempotency_Key=message_id).status_code == 201
    got = send(doors, "store_memory", {**memory, "content": 2}, Idempotency_Key=message_id)
    assert (got.status_code, got.json()["code"]) == (409, "conflict")
