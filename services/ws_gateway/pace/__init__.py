"""Slow and new connections: how good each is, and what it gets when."""
