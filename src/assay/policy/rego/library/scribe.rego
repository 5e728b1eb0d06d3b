# What a rule reports as the asset that it looked at, read from the evidence itself and from nowhere else.
package scribe

import rego.v1

# Defined for every statement, so that a rule which reports its asset never fails for want of one.
get_asset_data(evidence) := {
	"type": _first(environment, ["target_type", "content_type"], annotations, ["scheme"]),
	"name": _first(environment, ["sbomname", "name"], subject, ["name"]),
	"version": _first(environment, ["sbomversion", "version"], annotations, ["revision"]),
	"target": _first(environment, ["input_name"], annotations, ["target"]),
	"timestamp": _first(environment, ["timestamp"], annotations, ["time"]),
	"predicate_type": object.get(evidence, "predicateType", ""),
	"digest": object.get(subject, "digest", {}),
	"labels": object.get(environment, "labels", []),
} if {
	environment := _object(object.get(evidence, ["predicate", "environment"], {}))
	subject := _object(object.get(evidence, ["subject", 0], {}))
	annotations := _object(object.get(subject, "annotations", {}))
}

# The first text that one of two objects has under one of these names; empty for none.
_first(one, names, other, more) := found[0] if {
	found := array.concat(_texts(one, names), _texts(other, more))
	count(found) > 0
} else := ""

_texts(from, names) := [text |
	some name in names
	text := object.get(from, name, "")
	is_string(text)
	text != ""
]

_object(value) := value if is_object(value)

else := {}
