"""The `switchyard` command, and the servers and services it runs on one machine."""
