"""The session API: the paths and camelCase names of an older design (seed 001), over the same commands.

A body's member names are taken in camelCase and in snake_case. An answer that is one noun has it under its name, as the
commands answer it, and flat beside that, as the older design has it. What users keep in `initial`, `details`,
`content`, `metadata`, `result` and the state itself is theirs: nothing in it is respelled.
"""

from fastapi import APIRouter

from services.ingress.access import Access
from services.ingress.bodies import BodyReader
from services.ingress.commands import CommandDoor
from services.ingress.schemas import ERRORS
from services.ingress.session_api import actions, queries, replays, search, sessions, states
from services.ingress.session_api.door import SessionDoor
from services.ingress.session_api.segments import SegmentRoute


def session_router(
    commands: CommandDoor, access: Access, bodies: BodyReader, under_way: replays.Replays | None = None
) -> APIRouter:
    """The routes of the session API; replays that are `under_way` are known there, so that they can be ended."""
    routes = APIRouter(tags=["session API"], responses=ERRORS, route_class=SegmentRoute)
    door = SessionDoor(commands, access, bodies)
    sessions.add_routes(routes, door)
    actions.add_routes(routes, door)
    states.add_routes(routes, door)
    search.add_routes(routes, door)
    queries.add_routes(routes, door)
    replays.add_routes(routes, door, under_way or replays.Replays())
    return routes
