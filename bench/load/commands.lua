-- wrk: a command again and again, each under another key, stamped with the moment it is sent.
-- Environment: BENCH_COMMAND, BENCH_TEMPLATE (its data, with @SESSION@, @NUMBER@ and @MOMENT@ in this order), BENCH_API_KEY,
-- BENCH_PREFER (the Prefer header), BENCH_SESSIONS.
local ffi = require("ffi")
ffi.cdef [[
typedef struct { long seconds; long nanoseconds; } moment;
int clock_gettime(int clock, moment *now);
]]
local MONOTONIC = 1
local now = ffi.new("moment")
local count = 0
local format, sessions

function init(args)
  sessions = tonumber(os.getenv("BENCH_SESSIONS"))
  local body = os.getenv("BENCH_TEMPLATE"):gsub("%%", "%%%%")
  body = body:gsub("@SESSION@", "%%02d"):gsub("@NUMBER@", "%%08d"):gsub("@MOMENT@", "%%010d%%09d")
  local length = #string.format(body, 0, 0, 0, 0)
  format = "POST /api/commands/" .. os.getenv("BENCH_COMMAND") .. " HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
    .. "X-API-Key: " .. os.getenv("BENCH_API_KEY") .. "\r\nPrefer: " .. os.getenv("BENCH_PREFER")
    .. "\r\nContent-Length: " .. length .. "\r\n\r\n" .. body
end

function request()
  count = count + 1
  ffi.C.clock_gettime(MONOTONIC, now)
  return string.format(format, count % sessions, count, tonumber(now.seconds), tonumber(now.nanoseconds))
end
