"""How the session API's routes run commands and answer."""

from typing import Any

from fastapi import Request, Response

from services.ingress.access import Access
from services.ingress.bodies import LIMIT, BodyReader
from services.ingress.calls import call_of, response_of
from services.ingress.commands import CommandDoor, Outcome, answer
from services.ingress.prefer import wait_of
from services.ingress.session_api.spelling import camel_result, command_data
from shared.errors import invalid
from shared.messages import check_json, encode, spec_of


class SessionDoor:
    """Runs commands for requests of the session API."""

    def __init__(self, commands: CommandDoor, access: Access, bodies: BodyReader) -> None:
        self._commands = commands
        self._access = access
        self._bodies = bodies

    async def ask(self, request: Request, name: str, **data: Any) -> Response:
        """Run a command with this data; what is None is left out."""
        asked = {field: value for field, value in data.items() if value is not None}
        return self.answer(request, name, await self.perform(request, name, encode(asked)))

    async def send(self, request: Request, name: str, *, rest: str | None = None, **path: str) -> Response:
        """Run a command whose data is the body with the ids of the path; see `command_data` for `rest`."""
        data = command_data(spec_of(name), await self.body(request, name), path, rest=rest)
        return self.answer(request, name, await self.perform(request, name, data))

    async def body(self, request: Request, name: str) -> bytes:
        """The body, a checked object, of a caller who may run the command; an empty one is `{}`."""
        call = call_of(request)
        self._access.caller(call.headers).require(spec_of(name).scope)
        _, body = await self._bodies.read(call.receive, call.headers, LIMIT)
        body = body if body.strip() else b"{}"
        if not isinstance(check_json(body), dict):
            raise invalid("the body is an object", fields=[{"field": "(whole)", "kind": "dict_type"}])
        return body

    async def perform(self, request: Request, name: str, data: bytes) -> Outcome:
        """Run a command with its data as text, for a caller who may."""
        call = call_of(request)
        spec = spec_of(name)
        caller = self._access.caller(call.headers)
        caller.require(spec.scope)
        return await self._commands.perform(call, spec, caller, data, wait=wait_of(call))

    def check(self, request: Request) -> None:
        """Raise `Rejected("unauthorized")` when who asked is out of force by now; for answers that last."""
        self._access.check(call_of(request).headers)

    @staticmethod
    def answer(request: Request, name: str, outcome: Outcome) -> Response:
        """The answer for an outcome, its result in camelCase."""
        if outcome.result is not None:
            outcome = outcome._replace(result=camel_result(outcome.result))
        return response_of(answer(spec_of(name), outcome, call_of(request).trace_id))
