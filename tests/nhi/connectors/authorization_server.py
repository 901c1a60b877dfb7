"""An authorization server of the test: speaks RFC 7009 over HTTP."""

from __future__ import annotations

import base64
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs

CLIENT, SECRET = "sessile console", "a:secret/with=signs"


class AuthorizationServer:
    """Speaks RFC 7009: authenticates the client, and answers 200 for whatever token it does not know."""

    def __init__(self) -> None:
        self.tokens: set[str] = set()
        self.hints: list[str | None] = []
        self.broken = False
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                form = parse_qs(self.rfile.read(int(self.headers["content-length"])).decode())
                status, said = outer.answer(form, self.headers.get("authorization", ""))
                body = json.dumps(said).encode()
                self.send_response(status)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever)
        self.thread.start()
        self.url = f"http://127.0.0.1:{self.server.server_port}/revoke"

    def answer(self, form: dict[str, list[str]], authorization: str) -> tuple[int, Any]:
        if self.broken:
            return 503, {"error": "temporarily_unavailable"}
        expected = base64.b64encode(b"sessile%20console:a%3Asecret%2Fwith%3Dsigns").decode()
        if authorization != f"Basic {expected}" and form.get("client_id") != ["public"]:
            return 401, {"error": "invalid_client"}
        self.hints.append(form.get("token_type_hint", [None])[0])
        (token,) = form["token"]
        if token == "unsupported":
            return 400, {"error": "unsupported_token_type"}
        self.tokens.discard(token)
        return 200, {}

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()
