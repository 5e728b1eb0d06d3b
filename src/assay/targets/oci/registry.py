"""A repository in a registry: pulling by the OCI distribution specification 1.1, with logins by Basic and Bearer.

What a tag means is the registry's word; everything from the manifest on is held against digests. A token is asked for
this repository and for pulling only, whatever the registry's challenge names.
"""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import re
import urllib.error
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO, cast
from urllib.parse import urlencode

import msgspec

from assay.errors import AssayError, TargetError, UndecidedError
from assay.targets.names import shown
from assay.targets.oci import logins, web
from assay.targets.oci.documents import INDEX_TYPES, MANIFEST_TYPES, MAX_DOCUMENT, Descriptor, check_document

_MAX_TOKEN = 64 * 1024
_MAX_CHALLENGE = 8 * 1024
_CHALLENGE = re.compile(r'\b([A-Za-z_]{1,20})\s*=\s*(?:"([^"]*)"|([^\s",]+))')
_TOKEN = re.compile(r"[\x21-\x7e]+")
_API_HOSTS = {"docker.io": "registry-1.docker.io"}
"""Registries whose API answers under another name than everybody calls them by."""


class _Token(msgspec.Struct):
    token: str = ""
    access_token: str = ""


class Registry:
    """One repository. See `Source` for the contract."""

    def __init__(self, host: str, repository: str) -> None:
        self.what = shown(f"{host}/{repository}")
        self._host, self._repository = host, repository
        self._base = web.base_url(_API_HOSTS.get(host, host))
        self._authorization: str | None = None

    def top(self, tag: str | None, digest: str | None) -> tuple[bytes, str, str]:
        """See `Source.top`. Without tag and digest it is the tag ``latest``, as for every other client."""
        data, headers = self._manifest(digest or tag or "latest")
        found = "sha256:" + hashlib.sha256(data).hexdigest()
        if digest is not None:
            check_document(data, digest, f"the manifest of {self.what}")
        said = headers.get("Docker-Content-Digest", found)
        if said != found and not said.startswith("sha512:"):
            raise TargetError(f"{self.what} says that its manifest is {shown(said, 100)}, and it is {found}")
        return data, found, (headers.get("Content-Type") or "").partition(";")[0].strip()

    def document(self, descriptor: Descriptor) -> bytes:
        """See `Source.document`."""
        if descriptor.size > MAX_DOCUMENT:
            raise TargetError(f"a manifest of {self.what} is larger than the {MAX_DOCUMENT:,} bytes that are read")
        data, _ = self._manifest(descriptor.digest)
        check_document(data, descriptor.digest, f"a manifest of {self.what}")
        if len(data) != descriptor.size:
            raise TargetError(f"a manifest of {self.what} has another size than its descriptor says")
        return data

    @contextmanager
    def blob(self, descriptor: Descriptor) -> Iterator[BinaryIO]:
        """See `Source.blob`."""
        with contextlib.closing(self._get(f"blobs/{descriptor.digest}", "*/*")) as answer:
            yield cast(BinaryIO, _Download(answer, self.what))

    def place(self, descriptor: Descriptor) -> str | None:
        """See `Source.place`: nothing lies here yet."""
        return None

    def _manifest(self, name: str) -> tuple[bytes, Any]:
        with contextlib.closing(self._get(f"manifests/{name}", ", ".join(MANIFEST_TYPES + INDEX_TYPES))) as answer:
            data = _Download(answer, self.what).read_all(MAX_DOCUMENT)
        return data, answer.headers

    def _get(self, path: str, accept: str) -> Any:
        url = f"{self._base}/v2/{self._repository}/{path}"
        for attempt in (1, 2):
            headers = {"Accept": accept} | ({"Authorization": self._authorization} if self._authorization else {})
            try:
                return web.request(url, headers)
            except urllib.error.HTTPError as error:
                with contextlib.closing(error):
                    # A token may have run out during a long download, so a second refusal alone counts.
                    if error.code != 401 or attempt == 2:
                        raise self._refused(error, path) from None
                    self._log_in(error.headers.get_all("WWW-Authenticate") or [])
        raise AssertionError

    def _log_in(self, challenges: list[str]) -> None:
        """Answer what the registry asks for (RFC 7235; distribution's "Token Authentication Specification")."""
        login = logins.basic(self._host, self._repository)
        for challenge in challenges:
            scheme, _, rest = challenge.strip().partition(" ")
            if scheme.lower() == "bearer":
                self._authorization = f"Bearer {self._token(rest, login)}"
                return
            if scheme.lower() == "basic" and login is not None:
                self._authorization = f"Basic {_safe(login)}"
                return
        raise self._no_login()

    def _token(self, challenge: str, login: str | None) -> str:
        fields = {key.lower(): quoted or plain for key, quoted, plain in _CHALLENGE.findall(challenge[:_MAX_CHALLENGE])}
        realm = fields.get("realm", "")
        if not web.follows(self._base, realm):
            raise TargetError(f"{self.what} sends us to {shown(realm)} for a token; refused")
        asked = {"scope": f"repository:{self._repository}:pull"}
        if "service" in fields:
            asked["service"] = fields["service"]
        url = f"{realm}{'&' if '?' in realm else '?'}{urlencode(asked)}"
        try:
            with contextlib.closing(
                web.request(url, {"Authorization": f"Basic {_safe(login)}"} if login else {})
            ) as answer:
                data = _Download(answer, shown(realm)).read_all(_MAX_TOKEN)
            found = msgspec.json.decode(data, type=_Token)
        except urllib.error.HTTPError as error:
            with contextlib.closing(error):
                raise self._no_login() if error.code in (401, 403) else self._refused(error, "a token") from None
        except (msgspec.MsgspecError, UnicodeError, RecursionError):
            raise TargetError(f"{shown(realm)} gives no token that can be understood") from None
        token = found.token or found.access_token
        if not _TOKEN.fullmatch(token):
            raise TargetError(f"{shown(realm)} gives no token that can be understood")
        return token

    def _no_login(self) -> AssayError:
        return TargetError(
            f"{self.what} wants a login",
            hint=f"log in to {shown(self._host)[1:-1]} with docker, podman or oras, without a credential helper: "
            "only the file of logins is read",
        )

    def _refused(self, error: urllib.error.HTTPError, path: str) -> AssayError:
        name = shown(path, 100)[1:-1]
        if error.code in (401, 403):
            return self._no_login()
        if error.code == 404:
            return TargetError(f"{self.what} has no {name}")
        if error.code >= 500 or error.code == 429:
            return UndecidedError(f"{self.what} answers HTTP {error.code} for {name}")
        if 300 <= error.code < 400:
            return TargetError(f"{self.what} redirects too often, or to a place that is refused, for {name}")
        return TargetError(f"{self.what} answers HTTP {error.code} for {name}")


class _Download:
    """An answer's bytes, with sentences for what can happen on the way."""

    def __init__(self, answer: Any, what: str) -> None:
        self._answer, self._what = answer, what

    def read(self, count: int = -1) -> bytes:
        """At most ``count`` bytes."""
        try:
            return cast(bytes, self._answer.read(count))
        except (OSError, http.client.HTTPException) as error:
            raise UndecidedError(f"the download from {self._what} broke off: {web.reason(error)}") from None

    def read_all(self, limit: int) -> bytes:
        """Everything. Raises `TargetError` beyond ``limit`` bytes."""
        data = self.read(limit + 1)
        if len(data) > limit:
            raise TargetError(f"{self._what} sends more than the {limit:,} bytes that are read")
        return data


def _safe(login: str) -> str:
    """The login for a header. Raises `TargetError` where it could end the header."""
    if not re.fullmatch(r"[A-Za-z0-9+/=_-]+", login):
        raise TargetError("a login in the file of logins is not base64")
    return login
