"""The real SDK and the real command line program against the stand-in for the Messages API."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from claude_agent_sdk import ClaudeAgentOptions

from standins.messages_api import MessagesAPI

MODEL = "claude-sonnet-4-5"


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, bool]]:
    """The event loop the services run on."""
    return ("asyncio", {"use_uvloop": True})


@pytest.fixture
def api() -> Iterator[MessagesAPI]:
    """The Messages API."""
    with MessagesAPI() as server:
        yield server


@pytest.fixture
def options(api: MessagesAPI, tmp_path: Path) -> Callable[..., ClaudeAgentOptions]:
    """Makes options of a client that has nothing of this machine; more of them by name, `env` is added to."""

    def make(env: dict[str, str] | None = None, **more: Any) -> ClaudeAgentOptions:
        (tmp_path / "work").mkdir(exist_ok=True)
        chosen = {
            "model": MODEL,
            "setting_sources": [],
            "tools": [],
            "system_prompt": "You are Bender.",
            "verbatim_prompts": True,
            "cwd": tmp_path / "work",
            "env": {**api.environment(tmp_path), "CLAUDE_CODE_MAX_RETRIES": "0", **(env or {})},
        }
        return ClaudeAgentOptions(**{**chosen, **more})

    return make
