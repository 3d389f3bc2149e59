"""Conversations that are kept no longer: what goes, what stays, a piece at a time."""

from collections.abc import Iterator

import orjson
import pytest

from services.claude_worker.bots import Bot
from services.claude_worker.handlers import area_handlers
from services.claude_worker.handlers import retention as handler
from services.claude_worker.store import retention
from shared.messages import Command, decode_command
from tests.integration.handling import Handling


class Chats(Handling):
    """Chats in a database."""

    handlers = area_handlers({"short": Bot(keep_days=1), "long": Bot(keep_days=100)})

    def make(self, room: str, bot: str = "short", *, days: float, turns: int = 1, status: str = "answered") -> None:
        """A chat in which nothing was said for so many days, with turns, a transcript and a post."""
        place = {"room": room, "bot": bot}
        self.sql(
            """insert into chats (room_id, bot_id, claude_session, last_turn, last_activity)
               values (:room, :bot, 's-' || :room, :turns, now() - make_interval(secs => 86400 * :days))""",
            **place, days=days, turns=turns,
        )  # fmt: skip
        self.sql(
            """insert into turns (turn_id, room_id, bot_id, partition, number, status, message_id, sender_agent_id,
                   hops, trust, user_name, text)
               select :room || n, :room, :bot, 3, n, :status, 'm', 'ada', 0, 'trusted', 'Ada', 'hi'
               from generate_series(1, :turns) as n""",
            **place, turns=turns, status=status,
        )  # fmt: skip
        self.sql(
            """insert into chat_posts (turn_id, room_id, bot_id, partition, reply_to, text)
               values (:room || '1', :room, :bot, 3, 'x', 'hi')""",
            **place,
        )
        self.sql(
            """insert into chat_transcripts (project_key, claude_session, subpath, entry)
               values ('p', 's-' || :room, '', '{}'), ('p', 's-' || :room, 'part', '{}')""",
            room=room,
        )

    def clean(self) -> list[dict[str, int]]:
        """The results of the timer's command and of what follows from it."""
        data = handler.clean_up({"short": Bot(keep_days=1), "long": Bot(keep_days=100)})
        results, todo = [], [self.command("clean_chats", data)]
        while todo:
            (outcome,) = self.run(self.commit(todo.pop()))
            results.append(orjson.loads(outcome.reply)["result"])
            todo += [self._follow_up(each.body) for each in outcome.publications]
        return results

    @staticmethod
    def _follow_up(body: str) -> Command:
        command = decode_command(body.encode())
        assert command.spec.name == "clean_chats" and command.hops == 0
        return command

    def left(self) -> dict[str, set[str]]:
        """The rooms of which something is left, by table."""
        rows = {table: self.sql(f"select distinct room_id from {table}") for table in ("chats", "turns", "chat_posts")}
        sessions = self.sql("select distinct substr(claude_session, 3) from chat_transcripts")
        return {table: {row[0] for row in found} for table, found in {**rows, "transcripts": sessions}.items()}


@pytest.fixture
def chats(database_url: str) -> Iterator[Chats]:
    made = Chats(database_url)
    yield made
    made.close()


def test_a_chat_is_kept_as_long_as_its_room_or_else_its_bot_says_and_goes_with_all_that_belongs_to_it(
    chats: Chats,
) -> None:
    chats.make("fresh", days=0.9)
    chats.make("old", days=1.1)
    chats.make("old-long", "long", days=99)
    chats.make("older-long", "long", days=101)
    chats.make("undeclared", "gone", days=29)
    chats.make("old-undeclared", "gone", days=31)
    chats.make("kept-by-room", days=5)
    chats.make("dropped-by-room", "long", days=5)
    chats.make("waiting", days=50, status="parked")
    chats.sql("update chats set keep_days = 6 where room_id = 'kept-by-room'")
    chats.sql("update chats set keep_days = 4 where room_id = 'dropped-by-room'")
    assert chats.clean() == [{"forgotten": 4, "rows": 12}]
    stays = {"fresh", "old-long", "undeclared", "kept-by-room", "waiting"}
    assert chats.left() == dict.fromkeys(("chats", "turns", "chat_posts", "transcripts"), stays)
    assert chats.clean() == [{"forgotten": 0, "rows": 0}]


def test_much_is_forgotten_in_small_pieces_and_what_claude_knows_of_a_chat_at_once(
    chats: Chats, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handler, "TURNS", 10)
    monkeypatch.setattr(handler, "ROWS", 20)
    monkeypatch.setattr(handler, "CHATS", 3)
    for number in range(4):
        chats.make(f"r{number}", days=10 - number, turns=25 if number == 0 else 1)
    first, *more = results = chats.clean()
    # Ten turns of the first and both its lines, then two whole chats of three rows.
    assert first == {"forgotten": 2, "rows": 18}
    assert sum(each["forgotten"] for each in results) == 4 and len(more) == 2
    assert all(each["rows"] < 20 + 12 for each in results)
    assert not any(chats.left().values())


def test_somebody_who_says_something_meanwhile_is_left_alone(chats: Chats) -> None:
    chats.make("old", days=5)

    async def clean_while_locked() -> list[retention.Expired]:
        async with chats.database.transaction() as tx:
            await chats.commit(chats.command("set_chat", {"room_id": "other", "bot_id": "short"}))
            found = await retention.lock_expired(tx, {"short": 1}, 30, 10)
            async with chats.database.transaction() as another:
                assert await retention.lock_expired(another, {"short": 1}, 30, 10) == []
        return found

    assert [chat.room_id for chat in chats.run(clean_while_locked())] == ["old"]


def test_a_room_says_how_long_it_is_kept_and_what_it_does_not_say_stays(chats: Chats) -> None:
    room = {"room_id": "r", "bot_id": "short"}

    def set_chat(**data: float | None) -> tuple[float | None, float | None]:
        (outcome,) = chats.run(chats.commit(chats.command("set_chat", {**room, **data})))
        chat = orjson.loads(outcome.reply)["result"]["chat"]
        return chat["idle_minutes"], chat["keep_days"]

    assert set_chat(keep_days=2) == (None, 2)
    assert set_chat(idle_minutes=5) == (5, 2)
    assert set_chat(keep_days=None) == (5, None)


def test_a_room_of_a_bot_nobody_declared_is_not_set(chats: Chats) -> None:
    (outcome,) = chats.run(chats.commit(chats.command("set_chat", {"room_id": "r", "bot_id": "misspelt"})))
    assert orjson.loads(outcome.reply)["error"]["code"] == "not_found"
    chats.make("kept", "gone", days=1)
    (outcome,) = chats.run(chats.commit(chats.command("set_chat", {"room_id": "kept", "bot_id": "gone"})))
    assert orjson.loads(outcome.reply)["ok"]


def test_what_the_records_say_of_chats_whose_clients_live(chats: Chats) -> None:
    chats.make("a", days=0)
    chats.sql("update chats set idle_minutes = 7")

    async def look() -> tuple[object, object]:
        async with chats.database.reading() as tx:
            asked = [("a", "short"), ("gone", "short")]
            return await retention.find_chats(tx, asked), await retention.count_open(tx, [3])

    assert chats.run(look()) == (
        {("a", "short"): retention.Kept("s-a", 7.0)},
        {"queued": 0, "running": 0, "parked": 0},
    )
