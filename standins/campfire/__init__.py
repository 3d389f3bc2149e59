"""A Campfire server (37signals' chat): rooms, webhooks to bots, and the API that bots answer through.

`rooms` holds who and what there is, `text` how a message reads as HTML and as plain text, `server` the doors.
"""

from standins.campfire.rooms import Boost, Message, Person, Room
from standins.campfire.server import Campfire, Delivery, Posted

__all__ = ["Boost", "Campfire", "Delivery", "Message", "Person", "Posted", "Room"]
