"""What a client is connected with: the bot's settings as the Claude Agent SDK takes them."""

from collections.abc import Callable
from pathlib import Path

from claude_agent_sdk import ClaudeAgentOptions

from services.claude_worker.bots import Bot
from services.claude_worker.client.cli import WORKING_DIRECTORY, Cli
from services.claude_worker.client.transcripts import TurnTranscript
from services.claude_worker.tools.server import Tools


def options(
    bot: Bot,
    cli: Cli,
    transcript: TurnTranscript,
    hear: Callable[[str], None],
    tools: Tools,
    *,
    session: str,
    resumes: bool,
    home: Path,
) -> ClaudeAgentOptions:
    """Options of a client of the Claude session `session`; `hear` gets the lines of its stderr."""
    return ClaudeAgentOptions(
        model=bot.model,
        system_prompt=bot.system_prompt,
        # None of Claude Code's own: a bot has Switchyard's commands that its lists name, and nothing else.
        tools=[],
        mcp_servers=dict(tools.servers),
        hooks=tools.hooks,
        setting_sources=[],
        strict_mcp_config=True,
        skills=[],
        cwd=WORKING_DIRECTORY,
        cli_path=cli.path,
        env=cli.environment(home),
        verbatim_prompts=True,
        include_partial_messages=bot.stream or bot.edit_while_streaming,
        session_store=transcript,  # type: ignore[arg-type]
        session_id=None if resumes else session,
        resume=session if resumes else None,
        stderr=hear,
    )
