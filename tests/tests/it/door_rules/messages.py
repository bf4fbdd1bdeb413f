"""Writes a question and reads answers by the messages that Envoy's project publishes.

Takes answers as hexadecimal words; prints the question so, and what it has read as JSON.
"""

import json
import sys

from envoy.service.auth.v3 import external_auth_pb2 as auth

asked = auth.CheckRequest()
http = asked.attributes.request.http
http.method, http.path, http.host, http.protocol = "POST", "/a?b=c", "chat.example", "HTTP/2"
http.body, http.raw_body = "text", b"\xff"
http.headers["accept"] = "x"
http.header_map.headers.add(key="cookie", value="v", raw_value=b"\xfe")

told = []
for word in sys.stdin.read().split():
    answer = auth.CheckResponse.FromString(bytes.fromhex(word))
    denied, ok = answer.denied_response, answer.ok_response
    headers = [[one.header.key, one.header.value, one.append_action] for one in (*denied.headers, *ok.headers)]
    told.append([answer.status.code, denied.status.code, denied.body, headers, list(ok.headers_to_remove)])
print(asked.SerializeToString().hex(), json.dumps(told))
