"""What every service shares: messages, the bus, the database, settings, logs, errors and keys. A closed list."""

__version__ = "0.1.0"

# In the order of their health ports.
WORKERS = ("session_worker", "memory_worker", "task_worker", "claude_worker")
