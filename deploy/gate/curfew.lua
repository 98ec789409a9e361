-- Asks `curfew gate` whether a request may pass, for haproxy.cfg:  http-request lua.curfew URL
-- 200: the app is told whose request it is. Everything else is answered here, and so is a gate that is away.

local told = {"x-curfew-subject", "x-curfew-client", "x-curfew-device", "x-curfew-scope"}
local passed_on = {"www-authenticate", "retry-after", "content-type", "cache-control"}

local function curfew(txn, url)
    local asked = {}
    local authorization = txn.http:req_get_headers()["authorization"]
    if authorization ~= nil then
        local values = {}
        local n = 0
        while authorization[n] ~= nil do -- counts from 0; more than one is for the gate to refuse
            values[#values + 1] = authorization[n]
            n = n + 1
        end
        asked["authorization"] = values
    end

    local answer = core.httpclient():get{url = url, headers = asked, timeout = 10000}
    if answer ~= nil and answer.status == 200 then
        for _, name in ipairs(told) do
            local value = answer.headers[name]
            if value ~= nil and value[0] ~= nil and value[0] ~= "" then
                txn.http:req_set_header(name, value[0])
            end
        end
        return
    end

    -- A gate that is away is a 503 without headers, made by HAProxy itself.
    local reply = txn:reply{status = 503}
    local retry = true
    if answer ~= nil and (answer.status == 400 or answer.status == 401 or answer.status == 403 or answer.status == 503) then
        reply:set_status(answer.status)
        retry = answer.status == 503 and answer.headers["retry-after"] == nil
        for _, name in ipairs(passed_on) do
            local value = answer.headers[name]
            if value ~= nil and value[0] ~= nil then
                reply:add_header(name, value[0])
            end
        end
        reply:set_body(answer.body)
    end
    if retry then
        reply:add_header("retry-after", "2")
    end
    txn:done(reply)
end

core.register_action("curfew", {"http-req"}, curfew, 1)
