"""The addresses that OpenAI's clients use."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import FastAPI
from starlette.middleware.trustedhost import TrustedHostMiddleware

from accord.ports import LOOPBACK
from accord.serve.chat import chat_routes
from accord.serve.completions import completion_routes
from accord.serve.errors import answer_errors
from accord.serve.guard import Key, Limit
from accord.serve.reward_worker import RewardWorker
from accord.serve.score import score_routes
from accord.serve.served import Served
from accord.serve.tokenizer import tokenizer_routes
from accord.serve.worker import Worker


def create_app(
    workers: Mapping[str, Worker],
    rewards: Mapping[str, RewardWorker] | None = None,
    *,
    best_of: int = 1,
    key: str | None = None,
    hosts: Sequence[str] = LOOPBACK,
) -> FastAPI:
    """workers, rewards: policies and rewards by the names that clients call them. best_of: as `Served` has it. key:
    what clients have to send; None: nothing. hosts: the names under which it may be asked."""
    served = Served(workers, rewards or {}, best_of)
    app = FastAPI(title="Accord", docs_url=None, redoc_url=None, openapi_url=None)
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=list(hosts), www_redirect=False)
    app.add_middleware(Limit)
    if key is not None:
        app.add_middleware(Key, key=key)
    answer_errors(app)
    for routes in (chat_routes, completion_routes, score_routes, tokenizer_routes):
        app.include_router(routes(served))
    created = int(time.time())

    @app.get("/health")
    def health() -> dict[str, str]:
        return {"status": "ok"}

    @app.get("/")
    @app.get("/v1")
    @app.get("/v1/")
    def about() -> dict[str, Any]:
        """Some clients ask the base address whether somebody is there."""
        return {"server": "accord", "policies": list(workers), "rewards": list(served.rewards), "api": "/v1/models"}

    common = {"object": "model", "created": created, "owned_by": "accord"}
    known: dict[str, dict[str, Any]] = {
        name: {"id": name, **common, "kind": "policy", "max_model_len": one.context} for name, one in workers.items()
    }
    known |= {name: {"id": name, **common, "kind": "reward"} for name in served.rewards}

    @app.get("/v1/models")
    def models() -> dict[str, Any]:
        return {"object": "list", "data": list(known.values())}

    @app.get("/v1/models/{name:path}")
    def model(name: str) -> dict[str, Any]:
        if name not in known:
            raise Served.unknown(name, known)
        return known[name]

    return app
