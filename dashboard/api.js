// The ingress over HTTP: one function for each call the dashboard makes, and one kind of error.

const PATIENCE_MS = 12_000;

/** A call that did not succeed. `kind`: unreachable | unauthorized | forbidden | limited | failed. */
export class ApiError extends Error {
  constructor(kind, message, { status = 0, code = "" } = {}) {
    super(message);
    this.kind = kind;
    this.status = status;
    this.code = code;
  }
}

const KINDS = { 401: "unauthorized", 403: "forbidden", 429: "limited" };

async function call(method, path, { body, credential } = {}) {
  const headers = { Accept: "application/json" };
  if (body !== undefined) headers["Content-Type"] = "application/json";
  if (credential) headers.Authorization = `Bearer ${credential}`;
  let response;
  try {
    response = await fetch(path, {
      method,
      headers,
      body: body === undefined ? undefined : JSON.stringify(body),
      signal: AbortSignal.timeout(PATIENCE_MS),
      cache: "no-store",
    });
  } catch {
    throw new ApiError("unreachable", `No answer from ${location.host}. Is the stack running?`);
  }
  const document = await response.json().catch(() => null);
  if (response.ok && document !== null) return document;
  const said = document?.detail ?? document?.title ?? `The server answered ${response.status}.`;
  throw new ApiError(KINDS[response.status] ?? "failed", said, { status: response.status, code: document?.code ?? "" });
}

/** The gateway's address and the version; needs no key. */
export const readConfig = () => call("GET", "/api/config");

/** Exchange the code of a one-use sign-in link for `{access_token, expires_in, scopes}`. */
export const exchangeCode = (code) => call("POST", "/api/login", { body: { code } });

/** A WebSocket token for a person: `{token, token_id, expires, scopes}`; `scopes` are all that the credential has. */
export const issueToken = (credential, agentId, permission) =>
  call("POST", "/api/tokens", {
    credential,
    body: { agent_id: agentId, kind: "human", permission, ttl_s: 3600 },
  });

/** A page of sessions, the most recently active first: `{sessions, next}`. */
export const listSessions = (credential, { limit = 50, cursor } = {}) =>
  call("POST", "/api/commands/list_sessions", { credential, body: cursor ? { limit, cursor } : { limit } });
