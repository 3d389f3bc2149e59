-- wrk: the same signed GitHub body again and again, each time as another delivery.
-- Environment: BENCH_BODY (file), BENCH_SIGNATURE, BENCH_PREFIX (eight hex digits, another for each run).
local path = "/webhook"
local count = 0
local head, tail

function init(args)
  local file = assert(io.open(os.getenv("BENCH_BODY"), "rb"))
  local body = file:read("*a")
  file:close()
  local request = wrk.format("POST", path, {
    ["Host"] = "127.0.0.1",
    ["Content-Type"] = "application/json",
    ["User-Agent"] = "GitHub-Hookshot/bench",
    ["X-GitHub-Event"] = "push",
    ["X-GitHub-Delivery"] = "@DELIVERY@",
    ["X-Hub-Signature-256"] = os.getenv("BENCH_SIGNATURE"),
  }, body)
  local first, last = string.find(request, "@DELIVERY@", 1, true)
  head = string.sub(request, 1, first - 1) .. os.getenv("BENCH_PREFIX") .. "-0000-4000-8000-"
  tail = string.sub(request, last + 1)
end

function request()
  count = count + 1
  return head .. string.format("%012d", count) .. tail
end
