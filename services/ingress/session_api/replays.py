"""The replay of a session as server-sent events (WHATWG HTML, 9.2). See docs/replay.md."""

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import StreamingResponse

from services.ingress.calls import call_of
from services.ingress.schemas import SECURED
from services.ingress.session_api.door import SessionDoor
from services.ingress.session_api.sessions import SessionId
from shared.errors import Rejected, invalid
from shared.logs import get_logger
from shared.messages import encode
from shared.replay import Recorded, Replay

# Whoever is between sees that something comes, and we that the client is still there.
KEEP_ALIVE_SECONDS = 15.0
# How often it is looked whether the caller still may read.
CHECK_SECONDS = 1.0
MAX_REPLAYS = 200
# A page that can't be read is asked for so often; then the stream ends, and the client asks on from its last event.
ATTEMPTS = 5
RETRY_SECONDS = 0.5
# What a proxy would keep back to make larger pieces of it goes out at once.
_HEADERS = {"cache-control": "no-store", "x-accel-buffering": "no"}
_PLACE = re.compile(r"\d{1,18}-\d{1,18}")
_TYPE = re.compile(rb'"type"\s*:\s*"([a-z0-9_]{1,100})"')

log = get_logger()


class Replays:
    """Those under way."""

    def __init__(self) -> None:
        self._under_way: set[Replay] = set()
        self._beginning = 0

    @contextmanager
    def beginning(self) -> Iterator[None]:
        """Hold a place for one until it is given. Raises `Rejected("unavailable")` when all are taken."""
        if len(self._under_way) + self._beginning >= MAX_REPLAYS:
            raise Rejected("unavailable", f"{MAX_REPLAYS} replays are under way here; try again later")
        self._beginning += 1
        try:
            yield
        finally:
            self._beginning -= 1

    def add(self, replay: Replay) -> None:
        """One is read from now on, until `end`."""
        self._under_way.add(replay)

    def end(self, replay: Replay) -> None:
        """One is at its end, or nobody reads it any more."""
        replay.stop()
        self._under_way.discard(replay)

    def stop(self) -> None:
        """End all of them: the service is about to stop. Clients go on elsewhere from their last event."""
        for replay in self._under_way:
            replay.stop()


def add_routes(routes: APIRouter, door: SessionDoor, replays: Replays) -> None:
    """Add it to a router."""

    @routes.get(
        "/api/replay/session/{session_id:path}",
        operation_id="session_api_replay",
        summary="A session's events again, as server-sent events at the pace they had",
        response_class=Response,
        responses={
            200: {
                "description": "the events in order, each with its place as `id`; `replay_ended` is the last",
                "content": {"text/event-stream": {"schema": {"type": "string"}}},
            },
            204: {"description": "behind `Last-Event-ID` there is nothing: don't connect again"},
        },
        openapi_extra=SECURED,
    )
    async def replay_session(
        request: Request,
        session_id: SessionId,
        speed: Annotated[float, Query(description="times the recorded pace; 0: as fast as it can be read")] = 1.0,
        start: Annotated[
            str | None, Query(alias="from", max_length=64, description="a `session_seq`, or a moment (RFC 3339)")
        ] = None,
    ) -> Response:
        after = call_of(request).text(b"last-event-id")
        if after is not None and not _PLACE.fullmatch(after):
            raise invalid("`Last-Event-ID` is not the id of an event of a replay", last_event_id=after)

        async def read(data: dict[str, Any]) -> bytes:
            asked = {name: value for name, value in data.items() if value is not None}
            return await _patiently(door, request, encode(asked), attempts=ATTEMPTS if "cursor" in asked else 1)

        with replays.beginning():
            replay = Replay(read, session_id, speed=speed, start=start, after=after)
            await replay.begin()
        if after is not None and replay.is_empty:
            return Response(status_code=204)
        head = {"session_id": session_id, "speed": speed, "last_seq": replay.last_seq}

        async def events() -> AsyncIterator[bytes]:
            # Only now: of a client that has gone meanwhile nothing is ever asked.
            replays.add(replay)
            try:
                yield b"retry: 2000\n" + _event(b"replay_started", encode(head))
                async for piece in _pieces(replay, lambda: door.check(request)):
                    yield piece
                if not replay.stopped:
                    yield _event(b"replay_ended", encode(head))
            except Rejected as fault:
                log.warning("replay_broken_off", session_id=session_id, error=fault.code, detail=fault.message)
            finally:
                replays.end(replay)

        return StreamingResponse(events(), media_type="text/event-stream", headers=_HEADERS)


async def _patiently(door: SessionDoor, request: Request, data: bytes, *, attempts: int) -> bytes:
    """The text of a page. Raises `Rejected`."""
    wait_s = RETRY_SECONDS
    while True:
        attempts -= 1
        try:
            outcome = await door.perform(request, "replay_page", data)
        except Rejected as rejected:
            if rejected.code not in ("unavailable", "timeout") or not attempts:
                raise
        else:
            if outcome.error is not None:
                raise Rejected(outcome.error["code"], outcome.error["message"], **outcome.error.get("details", {}))
            if outcome.result is not None:
                return outcome.result
            if not attempts:
                raise Rejected("timeout", "no page of the recording within the time; the worker is away or busy")
        await asyncio.sleep(wait_s)
        wait_s *= 2


async def _pieces(replay: Replay, check: Callable[[], None]) -> AsyncIterator[bytes]:
    """Events as text; a comment when nothing comes for a while. Raises what `check` raises, within a second."""
    quiet_s = 0.0
    while not replay.ended:
        event = await replay.next(CHECK_SECONDS)
        check()
        if event is not None:
            quiet_s = 0.0
            yield _recorded(event)
            continue
        quiet_s += CHECK_SECONDS
        if quiet_s >= KEEP_ALIVE_SECONDS and not replay.ended:
            quiet_s = 0.0
            yield b": nothing yet\n\n"


def _recorded(event: Recorded) -> bytes:
    kind = _TYPE.search(event.body)
    return b"id: %b\n%b" % (event.place.encode(), _event(kind.group(1) if kind else b"message", event.body))


def _event(kind: bytes, body: bytes) -> bytes:
    # A newline in JSON is white space between its parts.
    return b"event: %b\ndata: %b\n\n" % (kind, body.replace(b"\n", b" ").replace(b"\r", b" "))
