-- What wrk sends, and what it says at the end: one line of JSON. Arguments: how (same, each, page), path, "Name: value" …

local path, how, head, count

local page = {
  "User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36",
  "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,image/apng,*/*;q=0.8",
  "Accept-Language: en-GB,en;q=0.9,de-CH;q=0.8,de;q=0.7,fr;q=0.6",
  "Accept-Encoding: identity",
  "Cache-Control: no-cache", "Pragma: no-cache", "DNT: 1", "Priority: u=0, i",
  'sec-ch-ua: "Chromium";v="140", "Not=A?Brand";v="24", "Google Chrome";v="140"',
  "sec-ch-ua-mobile: ?0", 'sec-ch-ua-platform: "Linux"', 'sec-ch-ua-arch: "x86"', 'sec-ch-ua-bitness: "64"',
  "Upgrade-Insecure-Requests: 1", "Sec-Fetch-Site: none", "Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: document",
  "Cookie: session=" .. string.rep("0123456789abcdef", 68),
}

function init(args)
  how, path, count = args[1], args[2], 0
  local lines = { "Host: " .. wrk.headers["Host"] }
  for at = 3, #args do lines[#lines + 1] = args[at] end
  if how == "page" then
    for _, line in ipairs(page) do lines[#lines + 1] = line end
  end
  head = " HTTP/1.1\r\n" .. table.concat(lines, "\r\n") .. "\r\n\r\n"
  local same = "GET " .. path .. head
  if how == "each" then
    -- No two calls have the same target for ten million calls.
    request = function()
      count = (count + 1) % 10000000
      return "GET " .. string.gsub(path, "NUMBER", string.format("%07d", count)) .. head
    end
  else
    request = function() return same end
  end
end

function done(summary, latency)
  local wrong = summary.errors
  io.write(string.format(
    '{"requests": %d, "seconds": %.6f, "p50": %d, "p99": %d, "connect": %d, "write": %d, "status": %d, "late": %d, "cut": %d}\n',
    summary.requests, summary.duration / 1e6, latency:percentile(50), latency:percentile(99),
    wrong.connect, wrong.write, wrong.status, wrong.timeout, wrong.read))
end
