"""The WebSocket gateway: fans events out to sockets, live and replayable, and passes their commands to the workers.

Consumes: the stream `switchyard.event-log`, the gossip of the other gateways. Emits: commands, for its clients;
presence and alerts. Owns: sockets, nothing else.

An event's way: `stream` reads it, `fanout` finds who wants it, `pace` holds it back for slow connections, `delivery`
sees to it that it arrives, `wire` writes it. A client's way: `wire`, `door`, `client`, and from there `topics` and
`history` for what it listens to, `commands` for what it asks. Beside them, `agents` knows who is there, and
`operation` shows how it goes.
"""
