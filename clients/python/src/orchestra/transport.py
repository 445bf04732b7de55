"""How requests get to the master: addresses, tokens, refusals, and trying again."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import requests

from .errors import Refused, Unreachable
from .models import FieldError, decode

#: Seconds to connect, and between two bytes of an answer.
TIMEOUT = (5.0, 30.0)
#: Pauses between tries grow from the first to the second, in seconds.
PAUSES = (0.1, 5.0)

Answer = TypeVar("Answer")


class Transport:
    """One master, and who we are to it."""

    def __init__(self, url: str | None, token: str | None, patience: float) -> None:
        url = url or os.environ.get("ORCHESTRA_URL") or "http://127.0.0.1:5216"
        self.url = (url if "://" in url else f"http://{url}").rstrip("/")
        self.patience = patience
        self.session = requests.Session()
        token = token or _token_of_environment()
        if token:
            self.session.headers["authorization"] = f"Bearer {token}"
        certificate = os.environ.get("ORCHESTRA_CA")
        if certificate:
            self.session.verify = certificate

    def send(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, Any] | None = None,
        body: Any = None,
        data: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        stream: bool = False,
        wait: float = 0.0,
    ) -> requests.Response:
        """One request. ``wait`` is how long the master may hold it open."""
        connect, read = TIMEOUT
        given = {key: value for key, value in (query or {}).items() if value is not None}
        try:
            response = self.session.request(
                method,
                self.url + path,
                params=given,
                json=body,
                data=data,
                headers=dict(headers or {}),
                stream=stream,
                timeout=(connect, read + wait),
            )
        except requests.RequestException as error:
            raise Unreachable(f"{self.url} does not answer: {error}") from error
        if response.status_code >= 400:
            raise _problem(response)
        return response

    def repeat(self, call: Callable[[], Answer]) -> Answer:
        """Again and again until it is answered, for as long as patience lasts. For calls alone
        that may be done twice."""
        until, pause = time.monotonic() + self.patience, PAUSES[0]
        while True:
            try:
                return call()
            except (Unreachable, Refused) as error:
                if isinstance(error, Refused) and not error.is_temporary:
                    raise
                if time.monotonic() + pause > until:
                    raise
            time.sleep(random.uniform(0, pause))
            pause = min(pause * 2, PAUSES[1])

    def read(self, path: str, query: Mapping[str, Any] | None = None, wait: float = 0.0) -> Any:
        """The JSON at an address."""
        return self.repeat(lambda: value(self.send("GET", path, query=query, wait=wait)))


def value(response: requests.Response) -> Any:
    """The JSON in an answer."""
    try:
        return response.json()
    except requests.RequestException as error:
        raise Unreachable(f"the answer of {response.url} cannot be read: {error}") from error


def _token_of_environment() -> str | None:
    token, file = os.environ.get("ORCHESTRA_TOKEN"), os.environ.get("ORCHESTRA_TOKEN_FILE")
    return token or (Path(file).read_text(encoding="utf-8").strip() if file else None)


def _problem(response: requests.Response) -> Exception:
    try:
        problem = response.json()
        kind, detail = str(problem["type"]), str(problem["detail"])
    except (requests.RequestException, ValueError, KeyError, TypeError):
        # A proxy in front of a master that is away.
        if response.status_code >= 500:
            return Unreachable(f"{response.url} answered {response.status_code}")
        text = f"{response.url} answered {response.status_code}, and not as a master does"
        return Refused(response.status_code, "unknown", text, [], None, None)
    errors = [decode(FieldError, error) for error in problem.get("errors") or []]
    offset = (problem.get("artifact") or {}).get("offset")
    return Refused(
        response.status_code, kind.rsplit(":", 1)[-1], detail, errors, problem.get("hint"), offset
    )
