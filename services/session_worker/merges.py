"""What a merged sidebar brings up: to its parent as an exchange, to its session as an artifact; pure."""

import uuid_utils

from shared.errors import Rejected
from shared.messages import Command, JsonText, encode
from shared.messages.artifacts import Artifact
from shared.messages.sidebar import ChildResult, Exchange, Sidebar

MAX_FINDINGS_BYTES = 100_000
# Of what was said, an event and an artifact hold the last: so many, and no more than fit into so many bytes.
LAST_EXCHANGES = 200
EXCHANGES_BYTES = 200_000
# How much of the findings stands in the exchange that tells a parent of the merge.
_SUMMARY = 10_000
_ARTIFACTS = uuid_utils.UUID("0f0b7c1e-52a4-5d8e-9d1c-6f1f3c0a7b21")
NOTHING = JsonText(b"null")


def checked(findings: JsonText | None) -> JsonText:
    """Findings as they were given; JSON's null for none. Raises `Rejected("too_large")`."""
    if findings is None:
        return NOTHING
    if len(findings.text) > MAX_FINDINGS_BYTES:
        raise Rejected(
            "too_large",
            f"`findings` take {len(findings.text)} bytes, and may take {MAX_FINDINGS_BYTES}; keep what is long as an "
            "artifact and refer to it",
            bytes=len(findings.text),
            limit=MAX_FINDINGS_BYTES,
        )
    return findings


def fitting(exchanges: list[Exchange]) -> list[Exchange]:
    """The last of these exchanges, as many as an event has room for."""
    room = EXCHANGES_BYTES
    kept: list[Exchange] = []
    for exchange in reversed(exchanges[-LAST_EXCHANGES:]):
        room -= len(encode(exchange))
        if room < 0 and kept:
            break
        kept.append(exchange)
    return kept[::-1]


def artifact_id(sidebar_id: str) -> str:
    """The id of the artifact that the merge of a sidebar makes, the same for each time it is asked for."""
    return f"sidebar-{uuid_utils.uuid5(_ARTIFACTS, sidebar_id)}"


def summary(sidebar: Sidebar, findings: JsonText) -> str:
    """What a parent is told of the merge of a child."""
    verdict = "its criteria were met" if sidebar.success else "its criteria were not met"
    found = "" if findings == NOTHING else f"\n\n{readable(findings)}"
    text = f"Sidebar {sidebar.sidebar_id} was merged, {verdict}: {sidebar.task_description}{found}"
    return text if len(text) <= _SUMMARY else f"{text[: _SUMMARY - 1]}…"


def artifact_of(
    command: Command, sidebar: Sidebar, findings: JsonText, said: list[Exchange], children: list[ChildResult]
) -> Artifact:
    """The artifact that a session keeps of a sidebar merged into it: what was found, and the last that was said."""
    metadata = {
        "sidebar_id": sidebar.sidebar_id,
        "success": sidebar.success,
        "participants": sidebar.participants,
        "exchange_count": sidebar.exchange_count,
        "data_refs": sidebar.data_refs,
    }
    return Artifact(
        session_id=sidebar.session_id,
        artifact_id=artifact_id(sidebar.sidebar_id),
        name=(sidebar.task_description.strip().split("\n")[0] or sidebar.sidebar_id)[:255],
        type="sidebar_merge",
        content=_document(sidebar, findings, said, children),
        format="markdown",
        metadata=JsonText.of(metadata),
        author=command.sender_agent_id,
        message_id=command.message_id,
        created=sidebar.last_activity,
    )


def _document(sidebar: Sidebar, findings: JsonText, said: list[Exchange], children: list[ChildResult]) -> str:
    parts = [f"# {sidebar.task_description.strip() or sidebar.sidebar_id}"]
    if sidebar.success_criteria:
        parts.append(f"{'Met' if sidebar.success else 'Not met'}: {sidebar.success_criteria}")
    if findings != NOTHING:
        parts.append(f"## Findings\n\n{readable(findings)}")
    if children:
        parts.append("## Of its children")
        for child in children:
            found = "" if child.findings == NOTHING else f": {readable(child.findings)}"
            parts.append(f"- {child.task_description} ({'met' if child.success else 'not met'}){found}")
    if said:
        left_out = sidebar.exchange_count - len(said)
        parts.append(f"## What was said{f', without the first {left_out}' if left_out else ''}")
        parts += [f"**{exchange.author}**: {exchange.text}" for exchange in said]
    return "\n\n".join(parts)


def readable(findings: JsonText) -> str:
    """Findings as a person reads them: a text as it is, else their JSON."""
    value = findings.value()
    return value if isinstance(value, str) else str(findings)
