"""Write the published JSON Schemas of policies: ``python tools/policy_schema.py``."""

from __future__ import annotations

import json
import os

import assay.policy
from assay.policy.authoring.schema import policy_schema, rule_schema

FOLDER = os.path.dirname(os.path.abspath(assay.policy.__file__))


def text(schema: dict[str, object]) -> str:
    """A schema as it is published."""
    return json.dumps(schema, indent=1, ensure_ascii=False) + "\n"


def main() -> None:
    """Write both files."""
    for name, schema in (("schema.json", policy_schema()), ("rule.schema.json", rule_schema())):
        with open(os.path.join(FOLDER, name), "w", encoding="utf-8") as file:
            file.write(text(schema))


if __name__ == "__main__":
    main()
