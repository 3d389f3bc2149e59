-- wrk: `store_memory` again and again, each under another key, stamped with the moment it is sent.
-- Environment: BENCH_PREFIX (of the keys, another for each run), BENCH_API_KEY, BENCH_PREFER (the Prefer header), BENCH_SESSIONS.
local ffi = require("ffi")
ffi.cdef [[
typedef struct { long seconds; long nanoseconds; } moment;
int clock_gettime(int clock, moment *now);
]]
local MONOTONIC = 1
local now = ffi.new("moment")
local count = 0
local format, prefix, sessions

local words = "The build of the main branch is green again after the cache was emptied, and the release goes out on Thursday "
  .. "unless the review finds a reason to wait; ask the data team about the nightly import."

function init(args)
  prefix, sessions = os.getenv("BENCH_PREFIX"), tonumber(os.getenv("BENCH_SESSIONS"))
  local body = string.format('{"session_id":"bench-@SESSION@","type":"fact","key":"%s-@NUMBER@",'
    .. '"content":"sent_ns=@MOMENT@ %s","tags":["bench"]}', prefix, words)
  body = body:gsub("@SESSION@", "%%02d"):gsub("@NUMBER@", "%%08d"):gsub("@MOMENT@", "%%010d%%09d")
  local length = #string.format(body, 0, 0, 0, 0)
  format = "POST /api/commands/store_memory HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
    .. "X-API-Key: " .. os.getenv("BENCH_API_KEY") .. "\r\nPrefer: " .. os.getenv("BENCH_PREFER")
    .. "\r\nContent-Length: " .. length .. "\r\n\r\n" .. body
end

function request()
  count = count + 1
  ffi.C.clock_gettime(MONOTONIC, now)
  return string.format(format, count % sessions, count, tonumber(now.seconds), tonumber(now.nanoseconds))
end
