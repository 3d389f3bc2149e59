// One line for a webhook's payload: GitHub's common events by name, anything else by what it holds.

const NOUNS = [
  "issue", "pull_request", "release", "discussion", "check_run", "check_suite", "workflow_run", "workflow_job",
  "deployment", "alert", "security_advisory", "milestone", "label", "package",
];

const dashed = (...parts) => parts.filter(Boolean).join(" — ");

const GITHUB = {
  push(p) {
    const branch = String(p.ref ?? "").replace(/^refs\/(heads|tags)\//, "");
    if (p.deleted) return `deleted ${branch}`;
    const commits = p.commits?.length ?? 0;
    const first = p.head_commit?.message?.split("\n")[0];
    return dashed(`${branch}: ${commits} ${commits === 1 ? "commit" : "commits"}`, first);
  },
  create: (p) => `created ${p.ref_type} ${p.ref}`,
  delete: (p) => `deleted ${p.ref_type} ${p.ref}`,
  status: (p) => `${p.context}: ${p.state}`,
  ping: (p) => p.zen,
  star: (p) => (p.action === "created" ? "starred" : "unstarred"),
  fork: (p) => `forked to ${p.forkee?.full_name}`,
  issue_comment: (p) => dashed(`#${p.issue?.number} ${p.issue?.title}`, p.comment?.body),
  pull_request_review: (p) => dashed(`#${p.pull_request?.number} ${p.review?.state}`, p.review?.body),
  pull_request_review_comment: (p) => dashed(`#${p.pull_request?.number} ${p.comment?.path}`, p.comment?.body),
};

/** The repository, what happened and who did it, as far as the payload says so. */
export function webhookSummary(event) {
  const payload = event.payload;
  if (event.payload_ref) return `The payload is over 1 MB: GET /api/deliveries/${event.payload_ref} gives it`;
  if (payload === null || typeof payload !== "object") return String(payload ?? "");
  const what = GITHUB[event.event]?.(payload) ?? byNoun(payload) ?? "";
  const where = payload.repository?.full_name ?? payload.organization?.login;
  const who = payload.sender?.login && `by ${payload.sender.login}`;
  return [where, what, who].filter(Boolean).join(" · ") || JSON.stringify(payload).slice(0, 400);
}

function byNoun(payload) {
  const noun = NOUNS.find((name) => payload[name] && typeof payload[name] === "object");
  if (!noun) return null;
  const thing = payload[noun];
  const number = thing.number ? `#${thing.number}` : "";
  const name = thing.title || thing.name || thing.summary || thing.tag_name || thing.head_branch || "";
  const state = thing.conclusion || thing.state || "";
  return [number, name, state && `(${state})`].filter(Boolean).join(" ");
}
