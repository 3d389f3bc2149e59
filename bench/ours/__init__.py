"""Switchyard's own parts, started so that one of them can be measured alone."""
