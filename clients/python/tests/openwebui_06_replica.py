"""Run by `test_openwebui_06.py`, several at once: the settings of one replica of the real application, over standard input and
output. A line is `{"get": NAME}` or `{"set": NAME, "value": …}`; the answer is a line of JSON."""

from __future__ import annotations

import json
import os
import sys

from open_webui import config

settings = config.AppConfig(redis_url=os.environ.get("REDIS_URL"))
settings.TOP_K = config.RAG_TOP_K
settings.DEFAULT_MODELS = config.DEFAULT_MODELS
settings.USER_PERMISSIONS = config.USER_PERMISSIONS
print(json.dumps("ready"), flush=True)
for line in sys.stdin:
    asked = json.loads(line)
    if "set" in asked:
        setattr(settings, asked["set"], asked["value"])
        print(json.dumps("done"), flush=True)
    else:
        print(json.dumps(getattr(settings, asked["get"])), flush=True)
