"""The services: each folder is one process, started as `python -m services.<name>`."""
