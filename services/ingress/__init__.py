"""The ingress: webhooks and commands come in over HTTP, are verified, and go to RabbitMQ.

Consumes: HTTP requests. Emits: commands on `switchyard.commands`. Owns: its spool (`<data>/spool`); never the database.
"""
