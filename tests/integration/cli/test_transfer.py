"""Sessions out of one database and into another, by the command line's own code, over the workers' own handlers."""

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from cli.client import CallFailed
from cli.importing import Importer
from cli.records import exported, read_lines, write_lines
from cli.session_folders import read_folder, write_folder
from shared.messages import JsonText, encode, new_id
from tests.integration.session_worker.test_transfer import LIFE, Worker


class Direct:
    """Runs commands as a client of the API does, without the way there."""

    def __init__(self, worker: Worker) -> None:
        self.worker = worker
        self.sent: list[str] = []
        # Whether the first answer to each request is lost on its way.
        self.loses = False

    def result(self, name: str, data: dict[str, Any] | bytes) -> bytes:
        command = self.worker.command(name, data.decode() if isinstance(data, bytes) else data)

        async def ask() -> bytes:
            async with self.worker.database.reading() as tx:
                return encode(await self.worker.queries[name](tx, command))

        return self.worker.run(ask())

    def run(self, name: str, data: bytes, *, wait_s: float, message_id: str | None = None) -> bytes:
        self.sent.append(message_id or "")
        command = self.worker.command(name, data.decode(), message_id=message_id or new_id())
        reply = orjson.loads(self.worker.outcomes(command)[0].reply)
        if self.loses and self.sent.count(message_id or "") == 1:
            raise CallFailed("nobody answered")
        if not reply["ok"]:
            raise CallFailed(reply["error"]["message"], {"conflict": 409, "not_found": 404}.get(reply["error"]["code"]))
        return encode(reply["result"])

    def export(self, session_id: str = "s") -> bytes:
        file = io.BytesIO()
        write_lines(exported(self, session_id), file)  # type: ignore[arg-type]
        return file.getvalue()

    def bring(self, records: Any, session_id: str | None = None) -> dict[str, Any]:
        importer = Importer(self, session_id)  # type: ignore[arg-type]
        importer.take(records)
        (done,) = importer.done
        return done


@pytest.fixture(scope="module")
def origin(module_database_url: str) -> Iterator[Direct]:
    """Where a session has lived and been completed, with line breaks within its JSON."""
    worker = Worker(module_database_url)
    made = worker.do("batch", LIFE)
    assert "results" in made, made
    data = '{"session_id": "s", "key": "lines", "type": "fact", "content": {\n"a":\r\n "line\\nbreak"}}'
    worker.do("batch", f'{{"commands": [{{"command": "store_memory", "data": {data}}}]}}')
    worker.do("complete_session", session_id="s", summary="done")
    yield Direct(worker)
    worker.close()


@pytest.fixture
def elsewhere(database_url: str) -> Iterator[Direct]:
    worker = Worker(database_url)
    yield Direct(worker)
    worker.close()


def test_what_comes_back_is_exported_to_the_same_bytes(origin: Direct, elsewhere: Direct, tmp_path: Path) -> None:
    file = tmp_path / "s.jsonl"
    file.write_bytes(origin.export())
    done = elsewhere.bring(read_lines(file))
    assert elsewhere.export() == file.read_bytes()
    assert done["imported"] == sum(done["records"].values()) == len(file.read_bytes().splitlines())
    again = elsewhere.bring(read_lines(file))
    assert again == {**done, "imported": 0}
    assert elsewhere.export() == file.read_bytes()


def test_the_folder_layout_holds_as_much(origin: Direct, elsewhere: Direct, tmp_path: Path) -> None:
    write_folder(exported(origin, "s"), tmp_path / "s")  # type: ignore[arg-type]
    assert {each.name for each in (tmp_path / "s").iterdir()} == {
        "metadata.json", "state.json", "actions.jsonl", "responses.jsonl", "records.jsonl",
    }  # fmt: skip
    elsewhere.bring(read_folder(tmp_path / "s"))
    assert elsewhere.export() == origin.export()


def test_a_session_that_was_never_patched_stays_so(origin: Direct, elsewhere: Direct, tmp_path: Path) -> None:
    for n, goal in enumerate(([], [{"goal_id": "g", "description": "d"}])):
        session_id = f"plain-{n}"
        origin.worker.do("create_session", session_id=session_id, initial={"task": 1})
        for each in goal:
            origin.worker.do("add_goal", session_id=session_id, **each)
        write_folder(exported(origin, session_id), tmp_path / session_id)  # type: ignore[arg-type]
        elsewhere.bring(read_folder(tmp_path / session_id))
        assert elsewhere.export(session_id) == origin.export(session_id)


def test_a_copy_beside_the_original_has_tasks_of_its_own(origin: Direct, tmp_path: Path) -> None:
    file = tmp_path / "s.jsonl"
    file.write_bytes(origin.export())
    done = origin.bring(read_lines(file), "copy")
    assert done["imported"] == sum(done["records"].values())
    copies, originals = (
        [orjson.loads(line) for line in origin.export(each).splitlines() if b'"kind":"task"' in line]
        for each in ("copy", "s")
    )
    assert {each["session_id"] for each in copies} == {"copy"}
    assert {each["task_id"] for each in copies}.isdisjoint(each["task_id"] for each in originals)
    without = [line for line in origin.export("copy").splitlines()[1:] if b'"kind":"task"' not in line]
    assert without == [line for line in origin.export("s").splitlines()[1:] if b'"kind":"task"' not in line]


def test_importing_into_where_it_came_from_changes_nothing(origin: Direct, tmp_path: Path) -> None:
    before = origin.export()
    (tmp_path / "s.jsonl").write_bytes(before)
    done = origin.bring(read_lines(tmp_path / "s.jsonl"))
    assert done["imported"] == 0
    assert origin.export() == before


def test_a_request_whose_answer_was_lost_is_done_once(
    origin: Direct, elsewhere: Direct, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cli.importing.time.sleep", lambda _: None)
    (tmp_path / "s.jsonl").write_bytes(origin.export())
    elsewhere.loses = True
    done = elsewhere.bring(read_lines(tmp_path / "s.jsonl"))
    assert done["imported"] == sum(done["records"].values())
    assert len(elsewhere.sent) == 2 * len(set(elsewhere.sent))


@pytest.mark.parametrize("text", [b"", b'{"kind":"action"}\n', b'{"kind":"session","title":"x"}\n', b"no json"])
def test_what_is_no_export_is_refused_before_anything_is_sent(elsewhere: Direct, tmp_path: Path, text: bytes) -> None:
    (tmp_path / "s.jsonl").write_bytes(text)
    with pytest.raises(ValueError, match=r"session|record"):
        elsewhere.bring(read_lines(tmp_path / "s.jsonl"))
    assert elsewhere.sent == []


def test_the_sessions_line_may_hold_another_and_is_refused(origin: Direct) -> None:
    lines = origin.export().splitlines(keepends=True)
    changed = orjson.loads(lines[0]) | {"title": "Another"}
    del changed["kind"]
    with pytest.raises(CallFailed, match="is there already, and is another one"):
        origin.run(
            "import_session",
            encode({"session_id": changed.pop("session_id"), "session": JsonText(orjson.dumps(changed))}),
            wait_s=1,
        )
