"""What every service shares: messages, the bus, the database, settings, logs, errors and keys. A closed list."""

__version__ = "0.1.0"
