"""What cannot be answered, in OpenAI's shape."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException

_CODES = {401: "invalid_api_key", 404: "model_not_found"}


class Refusal(Exception):
    """A request that cannot succeed. param: the field."""

    def __init__(self, what: str, param: str | None = None, status: int = 400) -> None:
        self.what, self.param, self.status = what, param, status
        super().__init__(what)


def body_of(refusal: Refusal) -> dict[str, Any]:
    kind = "server_error" if refusal.status >= 500 else "invalid_request_error"
    error = {"message": refusal.what, "type": kind, "param": refusal.param, "code": _CODES.get(refusal.status)}
    return {"error": error}


def answer_errors(app: FastAPI) -> None:
    """Every error of the app's is answered in this shape."""
    app.add_exception_handler(Refusal, _refused)
    app.add_exception_handler(RequestValidationError, _unreadable)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(Exception, _failed)


def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, Refusal)
    return JSONResponse(body_of(error), error.status)


def _unreadable(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    problem = error.errors()[0]
    if problem["type"] == "json_invalid":
        at = problem["loc"][-1]
        return _refused(request, Refusal(f"the body is no JSON: {problem['ctx']['error']}, at character {at}"))
    place = ".".join(str(part) for part in problem["loc"][1:])
    why = problem["msg"].removeprefix("Value error, ")
    return _refused(request, Refusal(f"{place or 'body'}: {why}", place or None))


def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    what = f"there is no {request.url.path} here" if error.status_code == 404 else error.detail
    body = body_of(Refusal(what))
    return JSONResponse(body, error.status_code)


def _failed(request: Request, error: Exception) -> Response:
    """A defect of this program's, whose traceback the server prints."""
    return _refused(request, Refusal("the server failed: what happened is in what it prints", status=500))
