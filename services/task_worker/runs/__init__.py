"""Agents' runs beside their commands: what may follow what, what is asked of them, their lines looked through."""
