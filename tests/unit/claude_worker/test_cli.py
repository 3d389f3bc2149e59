"""What the processes of Claude Code are told, and what not."""

import os
from pathlib import Path

import pytest

from services.claude_worker.client.cli import forget_secrets


def test_secrets_are_not_left_to_claude_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (config := tmp_path / "switchyard.toml").write_text(
        '[sources.bender]\nscheme = "campfire"\nsecret_env = "BENDERS_WORD"\n'
        '[sources.chat]\nscheme = "hmac"\nsecret_env = ["OLD_WORD", "NEW_WORD"]\n[sources.odd]\nsecret_env = 7\n'
    )
    kept = {"PATH": "/bin", "ANTHROPIC_API_KEY": "sk", "CLAUDE_CODE_OAUTH_TOKEN": "t", "HTTPS_PROXY": "http://p"}
    secrets = ("BENDERS_WORD", "OLD_WORD", "NEW_WORD", "ASSISTANT_BOT_TOKEN", "GITHUB_WEBHOOK_SECRET", "PGPASSWORD")
    ours = ("SWITCHYARD_SECRET", "SWITCHYARD_CONFIG", "DATABASE_URL", "AMQP_URL", "OPENAI_API_KEY")
    monkeypatch.setattr(os, "environ", {**kept, **dict.fromkeys((*secrets, *ours), "x")})
    forget_secrets(config)
    assert os.environ == kept


def test_without_a_file_secrets_are_forgotten_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "environ", {"PATH": "/bin", "SWITCHYARD_SECRET": "x"})
    forget_secrets(tmp_path / "none.toml")
    assert os.environ == {"PATH": "/bin"}
