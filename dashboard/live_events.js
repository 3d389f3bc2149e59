// One line for each event of the live layer: sidebars, mentions, presence, emergencies.

const joined = (...parts) => parts.filter((part) => part !== "" && part != null).join(" · ");
const spoken = (status) => String(status).replaceAll("_", " ");
const because = (reason) => (reason ? `: ${reason}` : "");

/** By type; each may throw for an event that is not as it should be. */
export const LIVE_SUMMARIES = {
  sidebar_spawn: (e) => joined(e.task_description, e.participants.join(", ")),
  sidebar_child_spawn: (e) => joined(`got the child ${e.child_sidebar_id}`, e.sub_task_description),
  sidebar_status_update: (e) => `${spoken(e.old_status)} → ${spoken(e.new_status)}${because(e.reason)}`,
  sidebar_pause: (e) => joined(`paused by ${e.paused_by}`, e.reason, e.resume_condition && `until ${e.resume_condition}`),
  sidebar_resume: (e) => joined(`resumed by ${e.resumed_by}`, e.reason),
  sidebar_exchange: ({ exchange: x }) => `${x.author}: ${x.text}`,
  sidebar_test_result: (e) => joined(`${e.result}: ${e.test_description}`, e.findings),
  sidebar_waiting_update: (e) => `waits for ${spoken(e.waiting_for)}${because(e.description)}`,
  sidebar_fork: (e) => joined(`${e.original_sidebar_id} forked to ${e.new_sidebar_id}`, e.fork_reason),
  sidebar_merge: (e) => joined(`merged into ${e.parent_id ?? `the session ${e.session_id}`}`,
    typeof e.consolidated_findings === "string" ? e.consolidated_findings : ""),
  sidebar_archive: (e) => joined(`archived by ${e.archived_by}`, e.archive_reason),
  mention_route: (e) => `${e.mention.author} to ${e.target_agents.join(", ")}: ${e.message}`,
  agent_presence: (e) => joined(e.status, e.current_context, e.specialties.join(", ")),
  security_emergency_broadcast: (e) => joined(e.message, e.action_required),
  critical_failure_broadcast: (e) => joined(e.message, e.action_required),
  system_shutdown: (e) => e.message,
  maintenance_shutdown: (e) => e.message,
  emergency_shutdown_warning: (e) => e.message,
  security_alert: (e) => joined(spoken(e.what), e.agent_id, e.address, e.detail),
  unacknowledged_updates: (e) => `${e.agent_id} has not acknowledged ${e.missing.length} critical ${e.missing.length === 1 ? "event" : "events"}`,
  tokens_revoked: (e) => joined(`of ${e.tokens.agent_id ?? e.tokens.token_id}`, e.reason),
};

/** The last words of their topics, where those are not the end of the type. */
export const LIVE_WORDS = {
  sidebar_spawn: "spawned", sidebar_status_update: "status", sidebar_child_spawn: "child_spawned",
  sidebar_pause: "paused", sidebar_resume: "resumed", sidebar_exchange: "posted", sidebar_waiting_update: "waiting",
  sidebar_fork: "forked", sidebar_merge: "merged", sidebar_archive: "archived",
  security_emergency_broadcast: "security_emergency", critical_failure_broadcast: "critical_failure",
  system_shutdown: "shutdown", maintenance_shutdown: "shutdown", emergency_shutdown_warning: "shutdown",
  unacknowledged_updates: "unacknowledged",
};

export const LIVE_TYPES = Object.keys(LIVE_SUMMARIES);
