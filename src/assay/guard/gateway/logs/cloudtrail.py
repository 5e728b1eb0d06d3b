"""The access log as events in CloudTrail's record format (1.11), one a line, for reviews of who used what.

A refused request has an ``errorCode``, so that no review takes it for a permission that was used. There is no
``{"Records": […]}`` around the records of a file, at rotation neither: a crash would leave one that nothing can read.
"""

from __future__ import annotations

from collections.abc import Mapping

from assay.guard.gateway.logs.fields import EMPTY
from assay.guard.gateway.logs.json_lines import escape
from assay.guard.gateway.logs.layout import Layout

SOURCE = "gateway.assay"
"""``eventSource``."""

EVENTS = {
    "infer": "InvokeModel",
    "explain": "ExplainModel",
    "chat": "Chat",
    "complete": "Complete",
    "embed": "Embed",
    "metadata": "DescribeModel",
    "health": "GetHealth",
}
"""``eventName`` by verb; ``Unrouted`` where there is no route."""

_CODES = {"401": "AccessDenied", "403": "AccessDenied", "429": "ThrottlingException", "503": "ServiceUnavailable"}


def derive(values: Mapping[str, str], shown: Mapping[str, str]) -> Mapping[str, str]:
    """``eventName``, what sort of caller, and what went wrong: also where the fields that say so are hidden."""
    known = values["caller"] != EMPTY and not values["caller"].startswith("address:")  # who proves nothing
    if values["decision"] == "deny":
        code, message = _CODES.get(values["status"], "ValidationException"), f"refused by {shown['rule']}"
    elif values["error"] != EMPTY:
        code, message = "ModelError", shown["error"]
    elif values["status"][:1] in ("4", "5"):
        code, message = "ModelError", f"the model answered {values['status']}"
    else:
        code = message = ""
    return {
        "eventName": EVENTS.get(values["verb"], "Unrouted"),
        "identityType": "WebIdentityUser" if known else "Unknown",
        "failure": f'"errorCode":"{code}","errorMessage":"{message}",' if code else "",
        "readOnly": "false" if values["verb"] == EMPTY else "true",
    }


LAYOUT = Layout(
    pieces=(
        ('{"eventVersion":"1.11","userIdentity":{"type":"', "identityType"),
        ('","principalId":"', "caller"),
        ('","arn":"arn:assay:gateway:::caller/', "caller"),
        ('","userName":"', "user"),
        ('","accessKeyId":"', "apiKeyId"),
        ('"},"eventTime":"', "eventTime"),
        (f'","eventSource":"{SOURCE}","eventName":"', "eventName"),
        ('","awsRegion":"-","sourceIPAddress":"', "ip"),
        ('","userAgent":"', "userAgent"),
        ('",', "failure"),
        ('"requestParameters":{"httpMethod":"', "httpMethod"),
        ('","resourcePath":"', "resourcePath"),
        ('","protocol":"', "protocol"),
        ('","route":"', "route"),
        ('","model":"', "model"),
        ('","modelVersion":"', "modelVersion"),
        ('","requestLength":', "requestLength"),
        (',"rows":', "rows"),
        (',"tokensIn":', "tokensIn"),
        (',"tokensOut":', "tokensOut"),
        ('},"responseElements":{"status":"', "status"),
        ('","responseLength":', "responseLength"),
        ('},"additionalEventData":{"extendedRequestId":"', "extendedRequestId"),
        ('","requestTime":"', "requestTime"),
        ('","requestTimeEpoch":"', "requestTimeEpoch"),
        ('","integrationLatency":', "integrationLatency"),
        (',"responseLatency":', "responseLatency"),
        (',"decision":"', "decision"),
        ('","rule":"', "rule"),
        ('","counted":"', "counted"),
        ('","level":"', "level"),
        ('","harden":"', "harden"),
        ('","error":"', "error"),
        ('","trace":"', "trace"),
        ('"},"requestID":"', "requestId"),
        ('","eventID":"', "eventId"),
        ('","resources":[{"type":"Assay::Model","ARN":"arn:assay:gateway:::model/', "model"),
        ('"}],"readOnly":', "readOnly"),
    ),
    end=',"eventType":"AwsApiCall","managementEvent":false,"recipientAccountId":"-","eventCategory":"Data"}\n',
    escape=escape,
    derive=derive,
    event=True,
)
