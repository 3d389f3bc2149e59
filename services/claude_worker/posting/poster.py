"""The poster: tells rooms of chat servers what they are owed (`chat_posts`), each room in its order.

Who has a partition posts for it, and looks before each request whether it still has. An attempt is written down before
it is made, and is nobody else's for longer than it may take: so a room gets a message twice only when its poster died,
or was stopped for that long, between the request and the note of its end, and the server does not show bots the room.
"""

import asyncio
import random
from collections.abc import Callable, Mapping
from typing import Any

import orjson
from prometheus_client import Counter

from services.claude_worker.posting.campfire import DEADLINE_SECONDS, Campfire, Posted
from services.claude_worker.posting.growing import Growing, Servers, Way
from services.claude_worker.posting.text import pieces, to_html
from services.claude_worker.store import posts, registry
from services.claude_worker.store.posts import Post
from services.claude_worker.store.registry import Fenced, Ownership
from services.claude_worker.turns import Held
from shared.bus.callbacks import CallbackOwed, kept
from shared.bus.handled import keep_callbacks
from shared.database import Database, Transaction, is_transient
from shared.logs import get_logger
from shared.messages import Command
from shared.sealing import CALLBACK, NotSealedHere, Seal, reply_about

# How often it looks for what others owe.
LOOK_SECONDS = 1.0
AWAY_SECONDS = 1.0
# An attempt is over by then, whatever has become of who made it.
ATTEMPT_SECONDS = DEADLINE_SECONDS + 5.0
# For so long a post is tried, after 1 s, 2 s, 4 s … and then each five minutes.
KEEP_TRYING_SECONDS = 24 * 3_600.0
LONGEST_WAIT_SECONDS = 300.0
# After a bug of our own.
STUCK_SECONDS = 60.0
# What a stop waits for requests that are under way.
STOP_SECONDS = 3.0
Chat = tuple[str, str]

ATTEMPTS = Counter("switchyard_chat_posts_total", "Attempts to tell rooms something, by what came of them", ["status"])
log = get_logger()


class Poster:
    """Posts for the partitions that are this worker's."""

    def __init__(
        self, database: Database, seal: Seal | None, campfire: Campfire, owned: Callable[[], Mapping[int, Ownership]]
    ) -> None:
        """`seal` opens where posts go to; None: there is no secret to open it with, and nothing is posted."""
        self._database = database
        self._seal = seal
        self._campfire = campfire
        self._servers = Servers(database, campfire)
        self._owned = owned
        self._owed = asyncio.Event()
        self._under_way: dict[Chat, tuple[int, asyncio.Task[None]]] = {}

    def poke(self) -> None:
        """There may be something to post."""
        self._owed.set()

    def on_committed(self, command: Command) -> None:
        """Look at once if this may owe something; what others commit is found by looking now and then."""
        if posts.is_owed():
            self.poke()

    def grow(self, ownership: Ownership, held: Held) -> Growing | None:
        """A message that grows while this turn is answered; None where there can't be one."""
        turn = held.turn
        try:
            note = self._opened(held.reply_to or "", turn.room_id, turn.bot_id)
            if note["to"] != "campfire":
                return None
            return self._servers.grow(ownership, held, Way(note["url"], note.get("after")))
        except (NotSealedHere, orjson.JSONDecodeError, KeyError, TypeError):
            return None

    async def run(self) -> None:
        """Post until cancelled."""
        if self._seal is None:
            log.warning("rooms_are_not_told", hint="set SWITCHYARD_SECRET: without it nobody knows where answers go")
            return
        try:
            while True:
                self._owed.clear()
                await self._look()
                try:
                    async with asyncio.timeout(LOOK_SECONDS):
                        await self._owed.wait()
                except TimeoutError:
                    pass
        finally:
            if tasks := [task for _, task in self._under_way.values()]:
                _, late = await asyncio.wait(tasks, timeout=STOP_SECONDS)
                for task in late:
                    task.cancel()
                await asyncio.gather(*late, return_exceptions=True)
            await self._campfire.close()
            await self._database.close()

    def _opened(self, reply_to: str, room_id: str, bot_id: str) -> dict[str, Any]:
        if self._seal is None:
            raise NotSealedHere("there is no SWITCHYARD_SECRET")
        note: dict[str, Any] = orjson.loads(
            self._seal.open(reply_to.removeprefix(CALLBACK), reply_about(room_id, bot_id))
        )
        return note

    async def _look(self) -> None:
        owned = dict(self._owned())
        if not owned:
            return
        try:
            async with self._database.transaction() as tx:
                await posts.owe_ends(tx, sorted(owned))
                due = await posts.next_posts(tx, sorted(owned), [post_id for post_id, _ in self._under_way.values()])
        except Exception as error:
            if is_transient(error):
                log.warning("database_away", reason=str(error).split("\n")[0])
            else:
                log.exception("posts_not_found")
            return
        for post in due:
            chat = (post.room_id, post.bot_id)
            if chat not in self._under_way:
                self._begin(chat, post, owned[post.partition])

    def _begin(self, chat: Chat, post: Post, ownership: Ownership) -> None:
        task = asyncio.create_task(self._try(post, ownership))
        self._under_way[chat] = (post.post_id, task)

        def done(task: asyncio.Task[None]) -> None:
            del self._under_way[chat]
            if not task.cancelled() and task.exception() is None:
                # There may be more for this room.
                self.poke()

        task.add_done_callback(done)

    async def _try(self, post: Post, ownership: Ownership) -> None:
        try:
            await self._deliver(post, ownership)
        except Fenced as fenced:
            log.warning("post_left_to_another", post_id=post.post_id, reason=str(fenced))
            await asyncio.sleep(AWAY_SECONDS)
        except Exception as error:
            if is_transient(error):
                log.warning("database_away", reason=str(error).split("\n")[0])
                await asyncio.sleep(AWAY_SECONDS)
                return
            # A bug, which must not have it tried without end.
            log.exception("post_stuck", post_id=post.post_id)
            broken = Posted(
                "again", reason=f"{type(error).__name__} here; the log has it", unsure=True, wait=STUCK_SECONDS
            )
            await self._after_failure(post, broken)

    async def _deliver(self, post: Post, ownership: Ownership) -> None:
        """Do what can be done now for a post."""
        try:
            note = self._opened(post.reply_to, post.room_id, post.bot_id)
            where, url = note["to"], note["url"]
        except (NotSealedHere, orjson.JSONDecodeError, KeyError, TypeError) as error:
            reason = f"nobody knows where it goes: {error}"
            await self._save(post, status="given_up", error=reason)
            _tell(post, "given_up", reason)
            return
        if where == "callback":
            await self._owe_callback(post, ownership, url, note["message_id"])
        else:
            await self._post(post, ownership, Way(url, note.get("after")))

    async def _owe_callback(self, post: Post, ownership: Ownership, url: str, message_id: str) -> None:
        """Leave it to who sends callbacks, once."""
        async with self._database.transaction() as tx:
            await registry.hold(tx, ownership)
            if not await posts.begin_attempt(tx, post, ATTEMPT_SECONDS):
                return
            turn = (await posts.turn_of(tx, post)).turn
            is_end = post.ends or (turn.status in ("answered", "failed") and turn.answer == post.text)
            kind = f"chat_{turn.status}" if is_end else "chat_notice"
            data = {"message_id": message_id, "text": post.text, "turn": turn}
            await keep_callbacks(tx, [kept(CallbackOwed(url, kind, data), message_id)])
            await posts.save_attempt(tx, post, status="sent", part=1)
        _tell(post, "sent", None)

    async def _post(self, post: Post, ownership: Ownership, way: Way) -> None:
        parts = pieces(post.text)
        if not parts:
            await self._save(post, status="given_up", error="it is blank")
            _tell(post, "given_up", "it is blank")
        if post.part == 0:
            await self._servers.settled(post.turn_id)
        while post.part < len(parts):
            html = to_html(parts[post.part])
            is_last = post.part + 1 == len(parts)
            async with self._campfire.turn_at(way.url):
                # The attempt before may have brought it into the room after all.
                found = await self._find(post, way, html) if post.unsure else None
                posted = Posted("sent", found) if found else await self._attempt(post, ownership, way, html)
            if posted is None:
                return
            if posted.what != "sent":
                await self._after_failure(post, posted)
                return
            post = post._replace(part=post.part + 1, unsure=False, attempts=0)
            status = "sent" if is_last else "waiting"
            await self._save(post, status=status, message_ref=posted.ref)
        if parts:
            _tell(post, "sent", None)

    async def _attempt(self, post: Post, ownership: Ownership, way: Way, html: str) -> Posted | None:
        """Post one message; None when it is no longer to be posted. Raises `Fenced`."""
        async with self._database.transaction() as tx:
            await registry.hold(tx, ownership)
            has_grown, draft = await self._draft(tx, post) if post.part == 0 else (False, None)
            if not await posts.begin_attempt(tx, post, ATTEMPT_SECONDS + 2 * DEADLINE_SECONDS * has_grown):
                return None
        if has_grown and draft is None:
            # Whoever has posted it was killed before he could say which one it is.
            draft = await self._find(post, way, None)
        if draft is not None:
            posted = await self._campfire.edit(way.url, draft, html)
            if posted.what == "sent":
                return Posted("sent", draft)
            if posted.what == "again":
                return posted
            # It can't be changed, or is gone.
        return await self._campfire.post(way.url, html)

    async def _draft(self, tx: Transaction, post: Post) -> tuple[bool, str | None]:
        """Whether a message has grown, or may have, while this was being answered; and which, if that is known."""
        has_grown, draft = await posts.find_draft(tx, post.turn_id)
        if not has_grown:
            return False, None
        turn = (await posts.turn_of(tx, post)).turn
        return (True, draft) if turn.status in ("answered", "failed") and turn.answer == post.text else (False, None)

    async def _find(self, post: Post, way: Way, html: str | None) -> str | None:
        """The first message of the bot, after all that is known of, that reads like this; None: like anything."""
        async with self._database.reading() as tx:
            last = await posts.last_ref(tx, post)
        known = [int(each) for each in (way.after, last) if each and each.isdigit()]
        return await self._campfire.find(way.url, str(max(known)) if known else None, html)

    async def _after_failure(self, post: Post, posted: Posted) -> None:
        wait = max(backoff(post.attempts + 1), posted.wait)
        late = post.age_s + wait > KEEP_TRYING_SECONDS
        status = "given_up" if posted.what == "refused" or late else "waiting"
        reason = f"{posted.reason}; that was for a day" if late and posted.what == "again" else posted.reason
        # What may have come once may come late.
        unsure = posted.unsure or post.unsure
        await self._save(post, status=status, unsure=unsure, error=reason, wait=wait)
        _tell(post, status, reason, wait=wait)

    async def _save(self, post: Post, **what: Any) -> None:
        """Write down what became of an attempt, however long the database is away."""
        while True:
            try:
                async with self._database.transaction() as tx:
                    return await posts.save_attempt(tx, post, **what)
            except Exception as error:
                if not is_transient(error):
                    raise
                log.warning("database_away", reason=str(error).split("\n")[0])
                await asyncio.sleep(AWAY_SECONDS)


def backoff(number: int) -> float:
    """Seconds from attempt `number` to the next, up to a quarter off or on."""
    return min(2.0 ** min(number - 1, 20), LONGEST_WAIT_SECONDS) * random.uniform(0.75, 1.25)


def _tell(post: Post, status: str, reason: str | None, *, wait: float | None = None) -> None:
    ATTEMPTS.labels(status).inc()
    (log.info if status == "sent" else log.warning)(
        "post_attempt",
        post_id=post.post_id,
        turn_id=post.turn_id,
        room_id=post.room_id,
        bot_id=post.bot_id,
        part=post.part,
        status=status,
        reason=reason,
        next_s=round(wait, 1) if status == "waiting" and wait is not None else None,
    )
