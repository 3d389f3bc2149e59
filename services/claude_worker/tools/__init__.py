"""Switchyard's own commands as tools of a bot."""
