"""An answer as the server-sent events of the Messages API, in their order."""

import json
from collections.abc import Iterator
from typing import Any

from standins.messages_api.answers import Answer, pieces


def event(name: str, **fields: Any) -> bytes:
    """One server-sent event."""
    return f"event: {name}\ndata: {json.dumps({'type': name, **fields}, ensure_ascii=False)}\n\n".encode()


def message(answer: Answer, message_id: str, model: str) -> dict[str, Any]:
    """The whole message, as an answer that is not streamed has it."""
    return {
        "id": message_id,
        "type": "message",
        "role": "assistant",
        "model": model,
        "content": answer.content,
        "stop_reason": answer.stop_reason,
        "stop_sequence": None,
        "usage": answer.usage,
    }


def stream(answer: Answer, message_id: str, model: str) -> Iterator[tuple[bool, bytes]]:
    """Every event, each with whether it is a piece of the content."""
    begun = {**message(answer, message_id, model), "content": [], "stop_reason": None}
    yield False, event("message_start", message={**begun, "usage": {**answer.usage, "output_tokens": 1}})
    for index, block in enumerate(answer.content):
        empty, deltas = _parts(block)
        yield False, event("content_block_start", index=index, content_block=empty)
        if index == 0:
            yield False, event("ping")
        for delta in deltas:
            yield True, event("content_block_delta", index=index, delta=delta)
        yield False, event("content_block_stop", index=index)
    yield (
        False,
        event(
            "message_delta",
            delta={"stop_reason": answer.stop_reason, "stop_sequence": None},
            usage={"output_tokens": answer.usage["output_tokens"]},
        ),
    )
    yield False, event("message_stop")


def _parts(block: dict[str, Any]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """A content block as it begins, and the deltas that fill it."""
    match block["type"]:
        case "text":
            return {**block, "text": ""}, [{"type": "text_delta", "text": each} for each in pieces(block["text"])]
        case "thinking":
            said = [{"type": "thinking_delta", "thinking": each} for each in pieces(block["thinking"])]
            signed = {"type": "signature_delta", "signature": block["signature"]}
            return {**block, "thinking": "", "signature": ""}, [*said, signed]
        case _:
            written = pieces(json.dumps(block["input"], ensure_ascii=False))
            return {**block, "input": {}}, [{"type": "input_json_delta", "partial_json": each} for each in written]
