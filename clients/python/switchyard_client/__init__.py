"""Talk to a Switchyard over its WebSocket, and run agents under its control. Needs a gateway's URL and a token only."""

from switchyard_client.connection import Connection
from switchyard_client.errors import CommandRefused, ConnectionRefused, SwitchyardError
from switchyard_client.tokens import TokenSource, token_by_key, token_from_file

__all__ = [
    "CommandRefused",
    "Connection",
    "ConnectionRefused",
    "SwitchyardError",
    "TokenSource",
    "token_by_key",
    "token_from_file",
]
