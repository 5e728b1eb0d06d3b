"""Functions of Rego that regorus lacks, in Python; they run in the worker process and are imported when first called.

They get plain values (a set is a `set`, whole numbers beyond 64 bits never arrive) and return such values; whatever
they raise is an error of the rule, never an undefined or false result. None opens a file or a connection.
"""

_DIGESTS = ("md5", "sha1", "sha256")
_HMACS = ("md5", "sha1", "sha256", "sha512")
_JWT = [f"{family}{bits}" for family in ("hs", "rs", "ps", "es") for bits in (256, 384, 512)] + ["eddsa"]

BUILTINS: dict[str, tuple[int, str, str]] = {
    "array.flatten": (1, "values", "flatten"),
    "strings.count": (2, "values", "occurrences"),
    "rand.intn": (2, "values", "number"),
    "uuid.rfc4122": (1, "values", "identifier"),
    **{f"crypto.{name}": (1, "digests", name) for name in _DIGESTS},
    **{f"crypto.hmac.{name}": (2, "digests", f"hmac_{name}") for name in _HMACS},
    "crypto.hmac.equal": (2, "digests", "equal"),
    "crypto.x509.parse_certificates": (1, "certificates", "parse_certificates"),
    "io.jwt.decode": (1, "tokens", "decode"),
    **{f"io.jwt.verify_{name}": (2, "tokens", f"verify_{name}") for name in _JWT},
    "net.cidr_intersects": (2, "networks", "intersects"),
    "net.cidr_merge": (1, "networks", "merge"),
    "net.cidr_contains_matches": (2, "networks", "contains_matches"),
}
"""Name to number of arguments, module and function."""

DEPRECATED: dict[str, tuple[int, str, str]] = {
    "any": (1, "values", "some_true"),
    "all": (1, "values", "all_true"),
    "set_diff": (2, "values", "difference"),
    "cast_array": (1, "values", "as_array"),
    "re_match": (2, "values", "matches"),
    "net.cidr_overlap": (2, "networks", "contains"),
}
"""What only v0 has."""
