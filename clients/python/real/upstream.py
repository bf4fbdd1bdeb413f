"""A model provider for the tests, compatible with OpenAI's API as far as the application asks: models, chat
completions, embeddings; and with rerankers.

Runs in the application's environment, which has aiohttp. All answers are made of the request alone, so that two walks
get the same; `GET /asked` tells with which embedding and which reranking model it was asked last, and what the chat
said that was streamed last. An answer that is streamed to somebody who says "halfway" stands still in the middle until `POST /on`.

    python upstream.py PORT [MODELS]
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import sys
from typing import Any

from aiohttp import web

WORDS = ("The", " answer", " to", " it", " is", " 42", ".")
# What is streamed to who says "halfway", before and after the stop: no other answer has it.
BEFORE, AFTER = ("First", " this"), (", then", " the", " rest", ".")
DIMENSIONS = 32
_MODELS = web.AppKey("models", list[str])
_ASKED = web.AppKey("asked", dict[str, Any])
_ON = web.AppKey("on", asyncio.Queue[None])


async def models(request: web.Request) -> web.Response:
    data = [{"id": id, "object": "model", "created": 1, "owned_by": "upstream"} for id in request.app[_MODELS]]
    return web.json_response({"object": "list", "data": data})


async def chat(request: web.Request) -> web.StreamResponse:
    asked = await request.json()
    common = {"id": "chatcmpl-1", "created": 1, "model": asked.get("model")}
    if not asked.get("stream"):
        message = {"role": "assistant", "content": "".join(WORDS)}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        usage = {"prompt_tokens": 3, "completion_tokens": len(WORDS), "total_tokens": 3 + len(WORDS)}
        return web.json_response({**common, "object": "chat.completion", "choices": [choice], "usage": usage})
    said = json.dumps(asked.get("messages"))
    request.app[_ASKED]["streamed"] = said
    stream = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    await stream.prepare(request)
    stops = "halfway" in said
    for number, word in enumerate((*BEFORE, *AFTER, None) if stops else (*WORDS, None)):
        if stops and number == len(BEFORE):
            await request.app[_ON].get()
        delta = {} if word is None else {"content": word}
        choice = {"index": 0, "delta": delta, "finish_reason": "stop" if word is None else None}
        chunk = {**common, "object": "chat.completion.chunk", "choices": [choice]}
        await stream.write(b"data: " + json.dumps(chunk).encode() + b"\n\n")
    await stream.write(b"data: [DONE]\n\n")
    await stream.write_eof()
    return stream


async def embeddings(request: web.Request) -> web.Response:
    asked = await request.json()
    request.app[_ASKED]["embedding_model"] = asked.get("model")
    texts = asked["input"] if isinstance(asked["input"], list) else [asked["input"]]
    data = [{"object": "embedding", "index": n, "embedding": _vector(text)} for n, text in enumerate(texts)]
    usage = {"prompt_tokens": len(texts), "total_tokens": len(texts)}
    return web.json_response({"object": "list", "model": asked.get("model"), "data": data, "usage": usage})


async def rerank(request: web.Request) -> web.Response:
    asked = await request.json()
    request.app[_ASKED]["reranking_model"] = asked.get("model")
    results = [{"index": n, "relevance_score": 1 / (n + 1)} for n in range(len(asked["documents"]))]
    return web.json_response({"results": results})


async def asked(request: web.Request) -> web.Response:
    return web.json_response(request.app[_ASKED])


async def on(request: web.Request) -> web.Response:
    request.app[_ON].put_nowait(None)
    return web.Response()


def _vector(text: object) -> list[float]:
    return [byte / 255 - 0.5 for byte in hashlib.sha256(str(text).encode()).digest()[:DIMENSIONS]]


def main() -> None:
    app = web.Application(client_max_size=1 << 26)
    count = int(sys.argv[2]) if len(sys.argv) > 2 else 3
    app[_MODELS] = [f"m{n}" for n in range(count)]
    app[_ASKED] = {}
    app[_ON] = asyncio.Queue()
    app.router.add_get("/v1/models", models)
    app.router.add_post("/v1/chat/completions", chat)
    app.router.add_post("/v1/embeddings", embeddings)
    app.router.add_post("/v1/rerank", rerank)
    app.router.add_get("/asked", asked)
    app.router.add_post("/on", on)
    web.run_app(app, host="127.0.0.1", port=int(sys.argv[1]), access_log=None, print=None)


if __name__ == "__main__":
    main()
