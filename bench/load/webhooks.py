"""The webhook every ingress is offered: a GitHub push of 10 kB with its signature."""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
from pathlib import Path

SECRET = "bench-secret-bench-secret"  # of servers that live as long as one benchmark
SIZE = 10_240


def push(size: int = SIZE) -> bytes:
    """A push payload in GitHub's shape, padded with commits to exactly `size` bytes."""
    owner = {"login": "octo-org", "id": 6811672, "type": "Organization", "site_admin": False}
    repository = {
        "id": 186853002,
        "name": "hello-world",
        "full_name": "octo-org/hello-world",
        "private": False,
        "owner": owner,
    }
    document = {
        "ref": "refs/heads/main",
        "before": "6113728f27ae82c7b1a177c8d03f9e96e0adf246",
        "after": "59b20b8d5c6ff8d09518454d4dd8b7b30f095ab5",
        "repository": repository,
        "pusher": {"name": "octo", "email": "octo@example.com"},
        "sender": {"login": "octo", "id": 21031067, "type": "User", "site_admin": False},
        "commits": [],
        "padding": "",
    }
    number = 0
    while len(json.dumps(document)) < size - 700:
        number += 1
        document["commits"].append(  # type: ignore[attr-defined]
            {
                "id": hashlib.sha1(str(number).encode()).hexdigest(),
                "message": f"Change number {number}: say “hello” to the “world” once more",
                "timestamp": "2026-01-01T00:00:00+01:00",
                "author": {"name": "Octo Cat", "email": "octo@example.com", "username": "octo"},
                "added": [],
                "modified": [f"src/module_{number}.py", "README.md"],
                "removed": [],
            }
        )
    document["padding"] = "x" * (size - len(json.dumps(document)))
    return json.dumps(document).encode()


def wrk_environment(directory: Path) -> dict[str, str]:
    """What webhook.lua wants to know; new delivery ids each time."""
    body = push()
    file = directory / "push.json"
    file.write_bytes(body)
    signature = hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()
    return {
        "BENCH_BODY": str(file),
        "BENCH_SIGNATURE": f"sha256={signature}",
        "BENCH_PREFIX": secrets.token_hex(4),
    }
