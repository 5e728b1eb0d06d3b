"""valint's ``git-owner`` rule: who committed each file last and whether the commit was signed, by a bill of materials.

It is a rule in Rego of our own over the same fields (``last_commit``, ``Author``, ``PGPSignature``). Stricter where the
original is loose: every pattern that matches a file must hold, and a bill without commits does not pass.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from assay.policy.reading.valint.files import File, Path

NAME = "git-owner.rego"

NOTE = (
    "looks at each file's last commit as the bill of materials states it; whether a commit's signature is good was "
    "for whoever made the bill to check"
)

REGO = """package verify

import rego.v1

components := [component | some component in object.get(input.evidence.predicate.bom, "components", [])]

properties(component) := {property.name: object.get(property, "value", "") |
	some property in object.get(component, "properties", [])
}

# Two commits of one name that differ make this rule an error, and an error allows nothing.
commits := {component.name: found |
	some component in components
	found := properties(component)
	"Author" in object.keys(found)
}

files contains {"file": component.name, "commit": object.get(properties(component), "last_commit", "")} if {
	some component in components
	component.type == "file"
	not "Author" in object.keys(properties(component))
}

matching(file) := [entry |
	some entry in input.config.args.specific
	regex.match(entry.path, file)
]

demands(file) := matching(file) if count(matching(file)) > 0

demands(file) := [input.config.args["default"]] if count(matching(file)) == 0

demanding(demand) if demand.signed

demanding(demand) if count(demand.users) > 0

by(author, user) if author == user

by(author, user) if endswith(author, concat("", ["<", user, ">"]))

allowed(found, users) if {
	some user in users
	by(found.Author, user)
}

violations contains {"file": file.file, "commit": file.commit, "problem": "its last commit is not in the bill"} if {
	some file in files
	some demand in demands(file.file)
	demanding(demand)
	not file.commit in object.keys(commits)
}

violations contains {"file": file.file, "commit": file.commit, "author": found.Author, "problem": "author"} if {
	some file in files
	found := commits[file.commit]
	some demand in demands(file.file)
	count(demand.users) > 0
	not allowed(found, demand.users)
}

violations contains {"file": file.file, "commit": file.commit, "problem": "its last commit is not signed"} if {
	some file in files
	found := commits[file.commit]
	some demand in demands(file.file)
	demand.signed
	object.get(found, "PGPSignature", "") == ""
}

violations contains {"problem": "the bill of materials states no files with their commits"} if count(files) == 0

violations contains {"problem": "the bill of materials states no commits"} if count(commits) == 0

reasons := {true: "files were committed by their owners", false: "files were not committed by their owners"}

allowing := count(violations) == 0

verify := {
	"allow": allowing,
	"violation": {"type": "git-owner", "details": [violation | some violation in violations]},
	"summary": [{"allow": allowing, "violations": count(violations), "reason": reasons[allowing]}],
}
"""


def arguments(value: Any, file: File, path: Path) -> dict[str, Any]:
    """``default`` and ``specific`` as the rule above expects them. Raises `DocumentError` for one without demands."""
    found = file.mapping(value, path, "git-owner", ("default", "specific", "identity"))
    default = file.mapping(found.get("default"), (*path, "default"), "default", ("signed-commit", "users"))
    every = _demand(default, {"users": [], "signed": False}, file, (*path, "default"))
    specific = []
    for i, item in enumerate(file.list(found.get("specific"), (*path, "specific"), "specific")):
        at = (*path, "specific", i)
        entry = file.mapping(item, at, "specific", ("path", "signed-commit", "users"))
        pattern = file.text(entry.get("path"), (*at, "path"), "path")
        if not pattern:
            raise file.wrong(at, "specific has no path")
        specific.append({"path": pattern, **_demand(entry, every, file, at)})
    if not any(demand["users"] or demand["signed"] for demand in (every, *specific)):
        raise file.wrong(path, "the git-owner rule demands nothing: neither users nor signed-commit is named")
    return {"default": every, "specific": specific}


def _demand(entry: Mapping[str, Any], otherwise: Mapping[str, Any], file: File, path: Path) -> dict[str, Any]:
    users = file.texts(entry.get("users"), (*path, "users"), "users")
    signed = file.flag(entry.get("signed-commit"), (*path, "signed-commit"), "signed-commit", otherwise["signed"])
    return {"users": list(users) or otherwise["users"], "signed": signed}
