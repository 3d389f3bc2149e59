"""A webhook from its sender to a listener and into the database."""

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from uuid import uuid4

from tests.e2e.conftest import Doors


def test_every_real_payload_arrives_equal_as_json_on_the_socket_and_in_the_database(
    doors: Doors, github_fixtures: Path
) -> None:
    manifest = json.loads((github_fixtures / "MANIFEST.json").read_text())["files"]
    assert len(manifest) == 45
    with doors.listen("webhook.github.#") as listener:
        for entry in manifest:
            body = (github_fixtures / entry["file"]).read_bytes()
            delivery = str(uuid4())
            answer = doors.github(entry["event"], body, delivery=delivery)
            assert answer.status_code == 202, answer.text
            event = listener.next()
            assert event["type"] == "webhook"
            assert (event["source"], event["event"], event["action"]) == ("github", entry["event"], entry["action"])
            assert event["delivery_id"] == delivery
            assert event["correlation_id"] == answer.json()["message_id"]
            assert event["trust"] == "untrusted"
            assert event["payload"] == json.loads(body)
            kept = doors.http.get(f"/api/deliveries/{delivery}").json()["delivery"]
            assert kept["payload"] == json.loads(body)


def test_the_payload_is_not_changed_in_any_number_or_in_the_order_of_its_keys(doors: Doors) -> None:
    payload = '{"z":1,"a":{"y":1e5,"b":1.0},"big":1180591620717411303424,"text":"\\u00e9\\ud83d\\ude80"}'
    with doors.listen("webhook.github.#") as listener:
        doors.github("push", payload.encode())
        frame = listener.socket.recv(timeout=10)
        assert isinstance(frame, str)
        assert f'"payload":{payload}' in frame


def test_a_payload_as_deep_as_may_be_arrives_and_is_kept(doors: Doors) -> None:
    body = b'{"a":' + b"[" * 63 + b"]" * 63 + b"}"
    delivery = str(uuid4())
    with doors.listen("webhook.github.#") as listener:
        assert doors.github("push", body, delivery=delivery).status_code == 202
        assert listener.next()["payload"] == json.loads(body)
    assert doors.http.get(f"/api/deliveries/{delivery}").json()["delivery"]["payload"] == json.loads(body)
    assert doors.github("push", b'{"a":' + b"[" * 64 + b"]" * 64 + b"}").status_code == 422


def test_the_same_delivery_a_hundred_times_at_once_has_one_effect(doors: Doors) -> None:
    delivery = str(uuid4())
    with doors.listen("webhook.github.push") as listener:
        with ThreadPoolExecutor(20) as pool:
            answers = list(pool.map(lambda _: doors.github("push", b'{"n":1}', delivery=delivery), range(100)))
        assert {answer.status_code for answer in answers} == {202}
        assert len({answer.json()["message_id"] for answer in answers}) == 1
        assert listener.next()["delivery_id"] == delivery
        assert listener.quiet()


def test_a_signature_over_other_bytes_is_refused(doors: Doors) -> None:
    answer = doors.github("push", b'{"n":1}', signature="sha256=" + "0" * 64)
    assert answer.status_code == 401
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert problem["code"] == "unauthorized"
    assert len(problem["trace_id"]) == 32


def test_a_payload_over_a_megabyte_is_named_on_the_socket_and_fetched_over_http(doors: Doors) -> None:
    body = json.dumps({"text": "x" * 1_500_000}).encode()
    delivery = str(uuid4())
    with doors.listen("webhook.github.#") as listener:
        assert doors.github("push", body, delivery=delivery).status_code == 202
        event = listener.next()
        assert event["delivery_id"] == delivery
        assert event.get("payload") is None
        assert event["payload_ref"]
    kept = doors.http.get(f"/api/deliveries/{delivery}").json()["delivery"]
    assert kept["payload"] == json.loads(body)


def test_a_session_command_in_a_webhook_gets_the_commands_own_reply(doors: Doors) -> None:
    session_id = doors.session()
    answer = doors.http.post(
        "/webhook",
        json={
            "type": "collaborative_session_command",
            "command": "append_conversation",
            "data": {"session_id": session_id, "content": "We decided to use PostgreSQL."},
        },
    )
    assert answer.status_code == 201, answer.text
    assert answer.json()["chunk"]["session_id"] == session_id


def test_an_insight_becomes_an_event_of_its_type(doors: Doors) -> None:
    session_id = doors.session()
    with doors.listen(f"session.{session_id}.#") as listener:
        sent = {"type": "llm_conversation_insight", "session_id": session_id, "insight": "they agree"}
        assert doors.http.post("/webhook", json=sent).status_code == 202
        event = listener.next()
        if event["type"] == "session_created":
            # It may be told only now.
            event = listener.next()
        assert event["type"] == "llm_conversation_insight"
        assert event["insight"] == sent
