"""Older events for a connection that comes back: its replay, and the pages of what the ring no longer holds."""
