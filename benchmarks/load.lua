-- Sends the images of a list in turn with wrk; prints counts and latencies as one line of JSON.
--
--     wrk ... -s load.lua URL -- LIST multipart|raw
--
-- LIST is a file with one path per line. Requests are built in advance to keep the load cheap.

local BOUNDARY = "catdog-benchmark-boundary"
local requests, turn = {}, 0

local function multipart(image)
   return "--" .. BOUNDARY .. "\r\n"
      .. 'Content-Disposition: form-data; name="image"; filename="picture.jpg"\r\n'
      .. "Content-Type: image/jpeg\r\n\r\n"
      .. image .. "\r\n--" .. BOUNDARY .. "--\r\n"
end

function init(arguments)
   local list, form = arguments[1], arguments[2] == "multipart"
   wrk.method = "POST"
   wrk.headers["Content-Type"] = form and ("multipart/form-data; boundary=" .. BOUNDARY) or "image/jpeg"
   for path in io.lines(list) do
      local file = assert(io.open(path, "rb"))
      local image = file:read("*a")
      file:close()
      table.insert(requests, wrk.format(nil, nil, nil, form and multipart(image) or image))
   end
end

function request()
   turn = turn % #requests + 1
   return requests[turn]
end

function done(summary, latency)
   local errors = summary.errors
   io.write(string.format(
      '{"answers": %d, "microseconds": %d, "p50": %d, "p95": %d, "p99": %d, "statuses": %d, "sockets": %d, "late": %d}\n',
      summary.requests, summary.duration, latency:percentile(50), latency:percentile(95), latency:percentile(99),
      errors.status, errors.connect + errors.read + errors.write, errors.timeout
   ))
end
