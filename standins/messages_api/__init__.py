"""Anthropic's Messages API without a model: streamed or not, and directed by the text it is sent.

`directives` says how a message directs it, `conversation` reads what a request carries, `answers` decides, `events`
puts the answer into the stream, `server` serves.
"""

from standins.messages_api.server import Asked, MessagesAPI

__all__ = ["Asked", "MessagesAPI"]
