"""Where addresses are, by a MaxMind DB file that the user brings. Unknown is ``ZZ``, never a guess."""

from __future__ import annotations

import logging
from typing import Any

from assay.errors import DocumentError, MissingExtraError
from assay.guard.gateway.rules.addresses import REMEMBERED
from assay.guard.gateway.stamps import stamp

UNKNOWN = "ZZ"
_log = logging.getLogger("assay.gateway")


class Database:
    """`statements.Countries`."""

    def __init__(self, path: str) -> None:
        """Raises `DocumentError` where it is no such file, `MissingExtraError` without the library."""
        self._path = path
        self._seen = stamp(path)
        self._reader = _open(path)
        self._known: dict[str, str] = {}

    def country(self, address: str) -> str:
        """As `statements.Countries.country`; what the database cannot say is `UNKNOWN`."""
        known = self._known.get(address)
        if known is None:
            if len(self._known) >= REMEMBERED:
                self._known.clear()
            known = self._known[address] = self._look(address)
        return known

    def refresh(self) -> bool:
        """Read the file where it has changed; a bad one is told to the log, and the old one stays."""
        found = stamp(self._path)
        if found == self._seen:
            return False
        self._seen = found
        try:
            reader = _open(self._path)
        except DocumentError as error:
            _log.warning("%s; the database stays as it was", error.message)
            return False
        self._reader, self._known = reader, {}
        return True

    def _look(self, address: str) -> str:
        import maxminddb

        try:
            found = self._reader.get(address)
        except (ValueError, maxminddb.InvalidDatabaseError):
            return UNKNOWN  # no address (a unix socket), IPv6 in a database of IPv4, or damaged there
        for name in ("country", "registered_country"):
            entry = found.get(name) if isinstance(found, dict) else None
            code = entry.get("iso_code") if isinstance(entry, dict) else None
            if isinstance(code, str) and len(code) == 2:
                return code.upper()
        return UNKNOWN


def _open(path: str) -> Any:
    try:
        import maxminddb
    except ImportError:
        raise MissingExtraError("rules by country", "gateway") from None
    try:
        return maxminddb.open_database(path, maxminddb.MODE_MEMORY)
    except OSError as error:
        raise DocumentError(f"countries: {path} cannot be read: {error.strerror}") from None
    except (maxminddb.InvalidDatabaseError, ValueError, KeyError, TypeError):
        raise DocumentError(f"countries: {path} is no MaxMind DB file", hint="GeoLite2-Country.mmdb is one") from None
