"""Bytes: the listener, WebSockets on picows, streams of events, and other encodings."""
