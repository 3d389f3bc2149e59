// What an event frame says at a glance: its area, topic, subject and a one-line summary.

import { LIVE_SUMMARIES, LIVE_TYPES, LIVE_WORDS } from "./live_events.js";
import { count, parse } from "./times.js";
import { webhookSummary } from "./webhooks.js";

// Types offered in the filter before any event was seen.
export const KNOWN_TYPES = [
  "session_created", "session_paused", "session_resumed", "session_completed", "session_failed",
  "conversation_chunk_added", "action_logged", "response_logged", "state_updated", "goal_added", "goal_updated",
  "agent_spawned", "agent_completed", "artifact_added", "memory_update", "memory_forgotten",
  "task_created", "task_ready", "task_claimed", "task_started", "task_requeued", "task_retrying", "task_completed",
  "task_failed", "task_cancelled", "task_dead", "agent_registered", "agent_run_started", "agent_run_changed",
  "agent_run_ended", "agent_output_added", "agent_activity", "agent_control_asked", "agent_control_answered",
  "extraction_found", "webhook", "late_hook", "llm_conversation_insight",
  "chat_queued", "chat_started", "chat_answered", "chat_failed", "chat_dropped", "chat_reset",
  "dead_letter_added", "key_changed", ...LIVE_TYPES,
];

const ENVELOPE = new Set([
  "message_id", "type", "timestamp", "sender_agent_id", "session_id", "sidebar_id", "priority", "correlation_id",
  "session_seq", "hops", "trust", "context_id", "cursor", "since", "traceparent",
]);

const AREAS = [
  ["session_", "session"], ["action_", "session"], ["response_", "session"], ["state_", "session"], ["goal_", "session"],
  ["artifact_", "session"], ["agent_spawned", "session"], ["agent_completed", "session"], ["conversation_", "chunk"], ["memory_", "memory"], ["task_", "task"],
  ["webhook", "webhook"], ["late_hook", "session"], ["llm_", "insight"], ["chat_", "chat"], ["approval_", "chat"], ["sidebar_", "sidebar"], ["mention_", "sidebar"],
  ["agent_", "agent"], ["extraction_", "agent"],
];

/** The part of the house an event type belongs to; `system` when it is none of them. */
export const areaOf = (type) => AREAS.find(([prefix]) => type.startsWith(prefix))?.[1] ?? "system";

const LAST_WORDS = {
  ...LIVE_WORDS,
  memory_update: "updated", conversation_chunk_added: "chunk", llm_conversation_insight: "insight",
  dead_letter_added: "dead_letter", event_log_recreated: "event_log", action_logged: "action",
  response_logged: "response", state_updated: "state", artifact_added: "artifact", goal_added: "goal_added",
  goal_updated: "goal_updated", agent_spawned: "agent_spawned", agent_completed: "agent_completed",
  approval_requested: "approval_requested", approval_decided: "approval_decided",
  agent_output_added: "output", agent_control_asked: "control", agent_control_answered: "controlled",
  extraction_found: "extraction",
};
const TOPIC_ROOTS = { chunk: "session", insight: "session", system: "system" };

/** The topic an event can be subscribed to by, as the bus writes it: `memory.s1.updated`. */
export function topicOf(event) {
  const word = (id) => (id == null ? "none" : String(id).replace(/[.*# ]/g, "_"));
  const area = areaOf(event.type);
  if (area === "webhook") return `webhook.${word(event.source)}.${word(event.event)}`;
  if (event.type === "mention_route") return `agent.${word(event.agent_id)}.mentioned`;
  if (area === "system") return `system.${LAST_WORDS[event.type] ?? event.type}`;
  const root = TOPIC_ROOTS[area] ?? area;
  const id = area === "sidebar" ? event.sidebar_id : area === "agent" ? event.agent_id ?? event.agent_name ?? event.name : event.session_id;
  const last = LAST_WORDS[event.type] ?? event.type.slice(event.type.indexOf("_") + 1);
  if (area === "chat") return `chat.${word(event.room_id)}.${word(event.bot_id)}.${last}`;
  return `${root}.${word(id)}.${last}`;
}

// Ids the server makes all look alike, so they name nothing at a glance.
const MADE_ID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;

const SUBJECTS = {
  session: (e) => e.session?.title || e.session?.session_id || e.action?.type || e.response?.type || e.goal?.description
    || e.agent?.type || e.artifact?.name || e.session_id,
  chunk: (e) => join("/", e.chunk?.format, MADE_ID.test(e.chunk?.chunk_id) ? "" : e.chunk?.chunk_id),
  memory: (e) => join("/", e.exchange?.type, e.exchange?.key),
  task: (e) => join("/", e.task?.agent_name, e.task?.task_type),
  webhook: (e) => join("/", e.source, join(".", e.event, e.action)),
  chat: (e) => join("/", e.room_id, e.bot_id),
  sidebar: (e) => e.sidebar_id,
  agent: (e) => e.agent_id ?? e.agent_name ?? e.name,
  system: (e) => e.dead_letter?.routing_key,
};

const SUMMARIES = {
  ...LIVE_SUMMARIES,
  session_created: ({ session: s }) => join(" · ", s.title || "untitled", plural(s.participants?.length, "participant"), listed(s.participants)),
  session_paused: (e) => e.reason || "paused",
  session_resumed: (e) => e.reason || "resumed",
  session_completed: (e) => e.summary || join(" · ", "completed", plural(e.session?.conversation_chunk_count, "chunk"),
    plural(e.session?.memory_count, "memory", "memories"), plural(e.session?.task_count, "task")),
  session_failed: (e) => e.reason || "failed",
  session_archived: () => "put away",
  conversation_chunk_added: (e) => e.chunk.content,
  action_logged: ({ action: a }) => hookWords(a.details) || text(a.details),
  response_logged: ({ response: r }) => text(r.content) || text(r.details),
  state_updated: (e) => text(e.patch),
  goal_added: ({ goal: g }) => join(" · ", g.status, `priority ${g.priority}`),
  goal_updated: ({ goal: g }) => join(" · ", g.status, `priority ${g.priority}`),
  agent_spawned: ({ agent: a }) => join(" · ", "spawned", a.description),
  agent_completed: ({ agent: a }) => join(" · ", a.status, text(a.result)),
  artifact_added: ({ artifact: a }) => a.content,
  memory_update: ({ exchange: m, count }) =>
    join(" ", m.version > 1 ? `v${m.version}` : "", count > 1 ? `(${count} updates)` : "", text(m.content)),
  task_created: ({ task: t }) => t.description || text(t.input_data) || `waits for ${t.agent_name}`,
  task_claimed: ({ task: t }) => join(" · ", `claimed by ${t.claimed_by ?? "a worker"}`, attempt(t)),
  task_requeued: ({ task: t }) => join(" · ", "its lease lapsed, it waits again", attempt(t)),
  task_ready: () => "can be claimed",
  task_started: ({ task: t }) => join(" · ", `${t.claimed_by ?? "a worker"} has begun`, attempt(t)),
  task_retrying: ({ task: t, reason }) => join(" · ", "tried again later", attempt(t), reason),
  task_failed: ({ task: t }) => join(" · ", "failed", t.error_message),
  task_cancelled: ({ task: t, reason }) => join(" · ", "cancelled", reason ?? t.error_message),
  task_completed: ({ task: t }) => text(t.output_data) || t.description || "completed",
  task_dead: ({ task: t }) => join(" · ", "given up", attempt(t), t.error_message),
  agent_registered: ({ agent: a }) => join(" · ", a.type, listed(a.capabilities)),
  agent_run_started: ({ run: r }) => join(" · ", r.state, r.command, r.name),
  agent_run_changed: ({ run: r, transition: t }) => join(" · ", r.state, t.cause),
  agent_run_ended: ({ run: r, transition: t }) =>
    join(" · ", r.state, t.cause ?? r.error, r.signal, r.exit_code == null ? "" : `exit ${r.exit_code}`, plural(r.lines, "line")),
  agent_output_added: ({ lines }) => join(" · ", plural(lines.length, "line"), lines.at(-1)?.text),
  agent_activity: (e) => join(" · ", e.kind, text(e.data)),
  agent_control_asked: (e) => join(" · ", e.action, e.reason),
  agent_control_answered: ({ control: c }) => join(" · ", c.action, c.status, c.error ?? text(c.result)),
  extraction_found: ({ extraction: x }) => join(" · ", x.type.replaceAll("_", " "), `risk ${x.risk}`, x.text),
  webhook: webhookSummary,
  late_hook: (e) => join(" · ", e.hook?.hook_event_name, `its session is ${e.status}`, hookWords(e.hook)),
  llm_conversation_insight: (e) => text(e.insight),
  dead_letter_added: (e) => e.dead_letter.reason,
  event_log_recreated: (e) => `the event stream was made anew; cursors go on from ${e.base}`,
};

/** A row of the feed for one event frame and its text as it came. Never throws: an odd event is shown oddly. */
export function rowOf(event, raw) {
  const type = String(event.type ?? "unknown");
  const area = areaOf(type);
  return {
    kind: "event",
    cursor: event.cursor ?? null,
    time: parse(event.timestamp),
    type,
    area,
    subject: oneLine(attempted(SUBJECTS[area], event)) || area,
    session: textId(event.session_id),
    sender: textId(event.sender_agent_id),
    priority: String(event.priority ?? "normal"),
    summary: oneLine(attempted(SUMMARIES[type], event) || text(ownFields(event))),
    raw,
  };
}

const REASONS = {
  retention: "they are older than what the server keeps",
  backpressure: "this page read too slowly, so the gateway dropped the least urgent",
  epoch: "the event stream was started anew, and its numbering with it",
};

/** A row that says what is missing between two cursors, and why. */
export function gapRow(frame, raw) {
  const reason = String(frame.reason ?? "unknown");
  const last = frame.to == null ? "now" : number(frame.to);
  const range = frame.from == null ? "Some events" : `Events ${number(frame.from)} to ${last}`;
  return {
    kind: "gap",
    cursor: null,
    time: Date.now(),
    type: "gap",
    area: "gap",
    subject: reason,
    session: "",
    sender: "",
    priority: "normal",
    summary: `${range} are missing: ${REASONS[reason] ?? `the gateway gave the reason “${reason}”`}.`,
    raw,
  };
}

function attempted(describe, event) {
  try {
    return describe?.(event);
  } catch {
    return "";
  }
}

const ownFields = (event) => Object.fromEntries(Object.entries(event).filter(([name]) => !ENVELOPE.has(name)));
const number = (n) => (Number.isSafeInteger(n) ? count(n) : String(n));
const textId = (value) => (value == null ? "" : String(value));
const attempt = (t) => (t.attempt ? `attempt ${t.attempt} of ${t.max_attempts}` : "");
const plural = (n, one, many = `${one}s`) => (n ? `${n} ${n === 1 ? one : many}` : "");
// What a hook of Claude Code says: the tool and its input, or the one text it brings.
const hookWords = (d) => (d?.hook_event_name
  ? join(" · ", d.tool_name, text(d.tool_input ?? d.prompt ?? d.message ?? d.last_assistant_message ?? d.reason ?? d.source))
  : "");
const listed = (names) => (Array.isArray(names) && names.length ? names.join(", ") : "");
const join = (glue, ...parts) => parts.filter((p) => p !== "" && p != null).join(glue);

const SPEAKING = ["text", "summary", "message", "title", "description", "content", "name", "reason"];

// The text of any JSON value: its own if it is one, a telling field if it has one, else its compact JSON.
function text(value) {
  if (value == null) return "";
  if (typeof value !== "object") return String(value);
  if (!Array.isArray(value)) {
    const field = SPEAKING.find((name) => typeof value[name] === "string" && value[name]);
    if (field) return value[field];
    if (Object.keys(value).length === 0) return "";
  }
  return JSON.stringify(value);
}

// A summary is cut long before a line ends, so that a megabyte of text costs the list nothing.
function oneLine(value) {
  return String(value ?? "").slice(0, 400).replace(/\s+/g, " ").trim();
}
