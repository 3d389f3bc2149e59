"""Sessions replayed over the WebSocket: `replay`, then `replay_control`. See docs/replay.md."""

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from services.ws_gateway.commands import check_allowed
from services.ws_gateway.door.access import Identity
from services.ws_gateway.requests import ReplayControl, ReplayRequest, Request
from services.ws_gateway.stream.frames import error, message, recorded_frame, text_frame
from shared.errors import BusError, Rejected, invalid, not_found
from shared.messages import encode, new_id, spec_of
from shared.replay import Recorded, Replay, read_speed

if TYPE_CHECKING:
    from services.ws_gateway.client import Client

MAX_REPLAYS = 4
# A page that can't be read is asked for again after so long, this often.
RETRY_SECONDS, ATTEMPTS = 0.5, 5
# After so many events without a wait everybody else has a turn.
TURN = 20


def on_replay(client: "Client", identity: Identity, request: ReplayRequest) -> None:
    """Begin to give a session's events again, beside whatever comes live."""
    if request.session_id is None:
        raise invalid("`session_id` says which session to replay")
    if len(client.replays) >= MAX_REPLAYS:
        raise Rejected("conflict", f"{MAX_REPLAYS} replays are under way on this connection; stop one of them first")
    data = {"session_id": request.session_id}
    # Whoever may read a session's timeline may see it replayed.
    check_allowed(identity, spec_of("get_timeline"), data, encode(data))
    commands = client.gateway.commands
    commands.count(identity)

    async def read(asked: dict[str, Any]) -> bytes:
        return await commands.query(
            identity, "replay_page", {name: value for name, value in asked.items() if value is not None}
        )

    replay = Replay(read, request.session_id, speed=request.speed, start=request.from_)
    replay_id = new_id()
    client.replays[replay_id] = replay
    client.spawn(_run(client, replay_id, replay, request))


def on_replay_control(client: "Client", identity: Identity, request: ReplayControl) -> None:
    """Pause, resume, seek, change the speed of, or stop a replay of this connection."""
    replay = client.replays.get(request.replay_id)
    if replay is None:
        raise not_found("replay", request.replay_id)
    if request.action == "pause":
        replay.pause()
    elif request.action == "resume":
        replay.resume()
    elif request.action == "stop":
        replay.stop()
    elif request.action == "speed":
        if request.speed is None:
            raise invalid("`speed` says how fast, with the action `speed`")
        replay.set_speed(request.speed)
    else:
        if request.from_ is None:
            raise invalid("`from` says where to go on, with the action `seek`")
        client.spawn(_seek(client, replay, request.from_, request))
        return
    client.send(_controlled(request))


HANDLERS: dict[type[Request], Callable[..., Any]] = {ReplayRequest: on_replay, ReplayControl: on_replay_control}


async def _seek(client: "Client", replay: Replay, start: int | str, request: ReplayControl) -> None:
    try:
        await replay.seek(start)
    except Rejected as rejected:
        client.send(error(rejected, request.message_id))
    except (BusError, TimeoutError) as fault:
        client.send(error(_away(fault), request.message_id))
    else:
        client.send(_controlled(request))


async def _run(client: "Client", replay_id: str, replay: Replay, request: ReplayRequest) -> None:
    """Give all of it, then say how it ended; of one that did not begin, there is the error only."""
    begun = False
    named = {} if request.message_id is None else {"correlation_id": request.message_id}
    about = {"replay_id": replay_id, "session_id": request.session_id}
    try:
        try:
            await replay.begin()
        except (BusError, TimeoutError) as fault:
            raise _away(fault) from None
        speed = read_speed(request.speed)
        client.send(message("replay_started", **named, **about, speed=speed, last_seq=replay.last_seq))
        begun = True
        await _give(client, replay_id, replay)
    except Rejected as rejected:
        # Nothing came of it, or no more will: the error names the frame that asked for it.
        client.answers.forget(request.message_id)
        client.send(error(rejected, request.message_id))
        if begun:
            client.send(message("replay_ended", **about, reason="failed"))
    else:
        client.send(message("replay_ended", **about, reason="stopped" if replay.stopped else "end"))
    finally:
        replay.stop()
        client.replays.pop(replay_id, None)


async def _give(client: "Client", replay_id: str, replay: Replay) -> None:
    since_turn = failed = 0
    while not replay.ended and not client.closing:
        await client.room.wait()
        try:
            event = await replay.next()
        except (BusError, TimeoutError) as fault:
            failed += 1
            if failed == ATTEMPTS:
                raise _away(fault) from None
            await asyncio.sleep(RETRY_SECONDS * 2**failed)
            continue
        failed = 0
        if event is not None:
            client.send(_marked(event, replay_id))
            since_turn += 1
            if since_turn >= TURN:
                since_turn = 0
                await asyncio.sleep(0)


def _marked(event: Recorded, replay_id: str) -> bytes:
    """The frame of an event of a replay: its own, with `replay_id`."""
    text = recorded_frame("", event.body).text.rstrip()
    return text_frame(b'%b,"replay_id":%b}' % (text[:-1], encode(replay_id)))


def _controlled(request: ReplayControl) -> bytes:
    named = {} if request.message_id is None else {"correlation_id": request.message_id}
    return message("replay_controlled", **named, replay_id=request.replay_id, action=request.action)


def _away(fault: Exception) -> Rejected:
    return Rejected("unavailable", f"the recording can't be read now: {fault or 'no answer'}; try again")
