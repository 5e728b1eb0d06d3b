"""An OpenID Connect provider: signed tokens, its published keys, and a login that needs no password."""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import time
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import jwt
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm

AUDIENCE = "sigstore"


@dataclass
class IdentityProvider:
    """Vouches for anybody whom a test names."""

    url: str
    """Issuer, and where its endpoints are."""
    user: str = "alice@example.com"
    """Who logs in when a browser comes."""
    key: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))
    codes: dict[str, str] = field(default_factory=dict)
    """Authorisation codes given out, with the PKCE challenge that each was asked for with."""

    def configuration(self) -> dict[str, Any]:
        """``.well-known/openid-configuration``."""
        return {
            "issuer": self.url,
            "authorization_endpoint": f"{self.url}/auth",
            "token_endpoint": f"{self.url}/token",
            "jwks_uri": f"{self.url}/keys",
        }

    def keys(self) -> dict[str, Any]:
        """JSON Web Key Set."""
        public = json.loads(ECAlgorithm.to_jwk(self.key.public_key()))
        return {"keys": [{**public, "kid": "1", "use": "sig", "alg": "ES256"}]}

    def token(self, email: str | None = None, *, lifetime: int = 600, **claims: Any) -> str:
        """An identity token for ``email``; ``claims`` replace or add to the usual ones."""
        now = int(time.time())
        usual = {
            "iss": self.url,
            "aud": AUDIENCE,
            "sub": email or self.user,
            "iat": now,
            "exp": now + lifetime,
        }
        if email or "sub" not in claims:
            usual |= {"email": email or self.user, "email_verified": True}
        return jwt.encode(usual | claims, self.key, "ES256", headers={"kid": "1"})

    def authorize(self, query: str) -> str:
        """The login page's answer: an address to be sent back to, with a code."""
        asked = {key: values[0] for key, values in parse_qs(query).items()}
        if asked["response_type"] != "code" or asked["code_challenge_method"] != "S256":
            raise ValueError("unsupported flow")
        code = secrets.token_urlsafe(12)
        self.codes[code] = asked["code_challenge"]
        if not asked["redirect_uri"].startswith("http://localhost:"):
            raise ValueError("unregistered redirect_uri")
        return f"{asked['redirect_uri']}?{urlencode({'code': code, 'state': asked['state']})}"

    def exchange(self, form: str) -> dict[str, Any]:
        """A code and the secret behind its challenge become a token, once."""
        given = {key: values[0] for key, values in parse_qs(form).items()}
        challenge = self.codes.pop(given["code"])
        digest = hashlib.sha256(given["code_verifier"].encode()).digest()
        if base64.urlsafe_b64encode(digest).rstrip(b"=").decode() != challenge:
            raise ValueError("the code was asked for by somebody else")
        return {"access_token": self.token(), "token_type": "Bearer"}

    def for_job(self, path: str) -> dict[str, Any]:
        """What GitHub's runner answers a job that asks for a token; its subject is the workflow."""
        audience = parse_qs(urlsplit(path).query)["audience"][0]
        workflow = "https://github.com/acme/models/.github/workflows/train.yml@refs/heads/main"
        return {"value": self.token(aud=audience, sub=workflow)}
