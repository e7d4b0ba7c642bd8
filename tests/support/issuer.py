"""Run an OpenID provider that says what a test tells it to, also what is wrong."""

import base64
import hashlib
import hmac
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

from flask import Flask, Response, jsonify, request
from joserfc import jwt
from joserfc.jwk import RSAKey
from werkzeug.serving import make_server

CLIENT_ID = "trainyard"
CLIENT_SECRET = "a-secret-of-the-client"


@dataclass
class Issuer:
    """A provider. People sign in at once, as whom a test chooses.

    Attributes:
        metadata: what it says of itself beside what is right.
        algorithm: how it signs; `none` not at all, and `HS256` with its public key.
        is_away: whether it answers everything with 500.
        bodies: answers that are sent as they are, by their paths.
        exchanged: the forms of the requests for tokens, with their headers `Authorization`.
    """

    address: str
    metadata: dict[str, Any] = field(default_factory=dict)
    algorithm: str = "RS256"
    is_away: bool = False
    bodies: dict[str, bytes] = field(default_factory=dict)
    exchanged: list[dict[str, str]] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    key: RSAKey = field(default_factory=lambda: RSAKey.generate_key(2048, {"kid": "first"}))
    _codes: dict[str, tuple[str, str]] = field(default_factory=dict)  # challenges and tokens

    def change_key(self) -> None:
        """Sign with another key from now on."""
        self.key = RSAKey.generate_key(2048, {"kid": "second"})

    def sign_in(self, location: str, subject: str, **changed: Any) -> dict[str, str]:
        """Sign somebody in who comes with the address `location`.

        `changed` are claims of the ID token; None takes one out. Returns the arguments with which the browser comes
        back.
        """
        asked = {name: values[0] for name, values in parse_qs(urlsplit(location).query).items()}
        time_now = int(time.time())
        claims = {
            "iss": self.address,
            "aud": asked["client_id"],
            "sub": subject,
            "nonce": asked["nonce"],
            "iat": time_now,
            "exp": time_now + 300,
            **changed,
        }
        code = f"code-{len(self._codes)}"
        token = self._sign({name: value for name, value in claims.items() if value is not None})
        self._codes[code] = asked["code_challenge"], token
        return {"code": code, "state": asked["state"], "iss": self.address}

    def _sign(self, claims: dict[str, Any]) -> str:
        if self.algorithm not in ("none", "HS256"):
            return jwt.encode(
                {"alg": self.algorithm, "kid": self.key.kid}, claims, self.key, algorithms=[self.algorithm]
            )
        header = {"alg": self.algorithm, "kid": self.key.kid}  # no library makes such a token any more
        signed = ".".join(_encode(json.dumps(part).encode()) for part in (header, claims))
        made = hmac.digest(self.key.as_pem(private=False), signed.encode(), "sha256")
        return f"{signed}.{_encode(made) if self.algorithm == 'HS256' else ''}"

    def exchange(self, form: dict[str, str], authorization: str) -> Response:
        self.exchanged.append({**form, "authorization": authorization})
        challenge, token = self._codes.pop(form["code"], ("", ""))
        if _encode(hashlib.sha256(form.get("code_verifier", "").encode()).digest()) != challenge:
            response = jsonify({"error": "invalid_grant", "error_description": "the code is not valid"})
            response.status_code = 400
            return response
        return jsonify({"access_token": "unused", "token_type": "Bearer", "expires_in": 300, "id_token": token})


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


@contextmanager
def run_issuer() -> Iterator[Issuer]:
    """Run a provider on a free port of this machine."""
    app = Flask("issuer")
    server = make_server("127.0.0.1", 0, app, threaded=True)
    issuer = Issuer(f"http://127.0.0.1:{server.server_port}")

    @app.before_request
    def answer_wrongly() -> Response | None:
        issuer.asked.append(request.path)
        if request.path in issuer.bodies:
            return Response(issuer.bodies[request.path], content_type="application/json")
        return Response("out of order", 500) if issuer.is_away else None

    @app.get("/.well-known/openid-configuration")
    def describe() -> dict[str, Any]:
        places = {"authorization_endpoint": "authorize", "token_endpoint": "token", "jwks_uri": "keys"}
        addresses = {name: f"{issuer.address}/{path}" for name, path in places.items()}
        return {"issuer": issuer.address, **addresses, **issuer.metadata}

    @app.get("/keys")
    def show_keys() -> dict[str, Any]:
        return {"keys": [issuer.key.as_dict(private=False)]}

    @app.post("/elsewhere")
    def lead_elsewhere() -> Response:
        return Response(status=307, headers={"Location": f"{issuer.address}/token"})

    @app.post("/token")
    def make_token() -> Response:
        return issuer.exchange(request.form.to_dict(), request.headers.get("Authorization", ""))

    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield issuer
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
