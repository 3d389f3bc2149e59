"""The WebSocket gateway: fans events out to sockets, live and replayable, and passes their commands to the workers.

Consumes: the stream `switchyard.event-log`. Emits: commands, for its clients. Owns: sockets, nothing else.
"""
