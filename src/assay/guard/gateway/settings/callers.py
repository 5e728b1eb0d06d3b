"""Who may call, and how much: `callers` and `plans` of the gateway file."""

from __future__ import annotations

from typing import Literal

from assay.guard.gateway.settings.words import Amount, Count, Rate, Seconds, Section


class Jwt(Section, frozen=True):
    """Tokens of one issuer (RFC 7519, OIDC)."""

    issuer: str
    """The token's ``iss``, to the letter."""
    audience: tuple[str, ...]
    """One of these is in the token's ``aud``; it also has ``exp`` and ``iat``."""
    jwks: str
    """A file or an ``https://`` address."""
    algorithms: tuple[Literal["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "EdDSA"], ...] = (
        "RS256",
        "ES256",
        "EdDSA",
    )
    """What tokens may be signed with; symmetric ones never."""
    subject: str = "sub"
    """Claim that says who it is."""
    owner: str | None = None
    """Claim that says to whom callers belong; None: the subject."""
    plan: str = "default"
    """Name of the usage plan."""
    plan_claim: str | None = None
    """Claim that names a plan, where it is one that the file has."""
    groups_claim: str | None = "scope"
    """Claim with scopes, for rules."""
    permissions: tuple[dict[str, str], ...] = ({},)
    """What these callers may do, ``{protocol, model, version, verb}``, each a glob; what is left out is any."""
    leeway: Seconds = Seconds(30)
    """How far clocks may be apart."""
    refresh: Seconds = Seconds(300)
    """How often the key set is fetched; a token with an unknown key asks for it too, at most every 10 seconds."""


class Mutual(Section, frozen=True):
    """Callers by certificate."""

    plan: str = "default"
    """Name of the usage plan."""
    permissions: tuple[dict[str, str], ...] = ({},)
    """As for ``jwt``."""
    subjects: tuple[str, ...] = ("*",)
    """Globs over the subject (RFC 4514) or a name (``DNS:…``, ``URI:spiffe://…``). The first that fits is who it is:
    the subject, else a name.
    """


class Callers(Section, frozen=True):
    """Who may call."""

    anonymous: str | None = None
    """Plan of callers who prove nothing; None: they are refused with 401."""
    keys: str | None = None
    """File of API keys, as `assay gateway keys` writes it."""
    header: str = "x-api-key"
    """Where a key is, beside ``Authorization: Bearer``."""
    jwt: tuple[Jwt, ...] = ()
    """Issuers of tokens that count."""
    mtls: Mutual | None = None
    """Callers by the certificate that ``tls`` asks for."""


class Plan(Section, frozen=True):
    """A usage plan. What is left out is not limited."""

    rate: Rate | None = None
    """Requests, on average."""
    burst: Count | None = None
    """Requests at once; None: as many as `rate` has in its span."""
    concurrent: Count | None = None
    """Requests at the same time."""
    requests: dict[Literal["hour", "day", "week", "month", "life"], Count] = {}
    """Quotas; calendar periods in UTC."""
    rows: dict[Literal["hour", "day", "week", "month", "life"], Count] = {}
    """Predictions, however many are in a request."""
    tokens: dict[Literal["hour", "day", "week", "month", "life"], Count] = {}
    """In and out together; reserved before the answer, settled after it."""
    cost: dict[Literal["hour", "day", "week", "month", "life"], Amount] = {}
    """In the unit of the route's ``price``."""
    information: dict[Literal["hour", "day", "week", "month", "life"], Amount] = {}
    """Bits that answers may give away: the sum of what each could have said, by classes and hardening."""
    harden: str | None = None
    """Name of a hardening for every answer to callers of this plan."""
    token_rate: Rate | None = None
    """Tokens, on average."""
    row_rate: Rate | None = None
    """Predictions, on average."""
