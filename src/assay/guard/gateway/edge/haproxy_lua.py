"""HAProxy's action that asks the decision service. Whatever goes wrong in it leaves a request denied."""

from __future__ import annotations

from assay.guard.gateway.edge.plan import Plan


def script(plan: Plan) -> str:
    """The file. Values in it went through `words`."""
    service = f"unix@{plan.service.file}" if plan.service.file else plan.service.text
    names = ", ".join(f'"{name}"' for name in plan.asked)
    secret = f'headers["x-edge-secret"] = {{"{plan.secret}"}}' if plan.secret else ""
    wait = round((5 + plan.settings.detect.reactions.slow) * 1000)
    return f"""-- Written by `assay gateway export haproxy`. Asks the decision service about one request.
-- Only a whole answer with status 200 sets `allow`; whatever goes wrong leaves `deny`, which the configuration refuses.
local names = {{{names}}}
local said = {{"route", "status", "rule", "caller", "user", "request_id", "id", "body"}}

local function first(headers, name)
    local values = headers[name]
    return values and values[0]
end

core.register_action("assay_decide", {{"http-req"}}, function(txn)
    local given = txn.http:req_get_headers()
    local headers = {{
        ["x-original-method"] = {{txn.f:method()}},
        ["x-original-uri"] = {{txn.f:pathq()}},
        ["x-real-ip"] = {{txn.f:src()}},
        ["x-original-protocol"] = {{"HTTP/" .. txn.f:req_ver()}},
        ["x-original-scheme"] = {{txn.f:ssl_fc() == 1 and "https" or "http"}},
    }}
    if first(given, "content-length") then
        headers["x-original-length"] = {{first(given, "content-length")}}
    end
    for _, name in ipairs(names) do
        local values = given[name]
        if values then -- all of them: the service refuses or joins, as the header has it, and the last hop counts
            local all = {{}}
            for i = 0, #values do
                all[i + 1] = values[i]
            end
            headers[name] = all
        end
    end
    if txn.f:ssl_c_used() == 1 and txn.f:ssl_c_verify() == 0 then
        headers["x-client-cert"] = {{txn.c:base64(txn.f:ssl_c_der())}}
    end
    {secret}
    local answer = core.httpclient():get{{
        url = "http://127.0.0.1/decide", dst = "{service}", headers = headers, timeout = {wait}
    }}
    if not answer or not answer.headers then
        return
    end
    for _, name in ipairs(said) do
        local value = first(answer.headers, "x-assay-" .. name:gsub("_", "-"))
        if value then
            txn:set_var("txn.assay_" .. name, value)
        end
    end
    txn:set_var("txn.assay_retry", first(answer.headers, "retry-after") or "1")
    txn:set_var("txn.assay_challenge", first(answer.headers, "www-authenticate") or "Bearer")
    if not first(answer.headers, "x-assay-id") then
        txn:set_var("txn.assay_id", first(answer.headers, "x-assay-request-id") or "-")
    end
    if answer.status == 200 then
        txn:set_var("txn.assay_verdict", "allow")
    end
end, 0)
"""
