# Counting the results of a SARIF log, for rules that call data.sarif.
#
# Every result of every run counts that the arguments do not take out, whether or not its rule is described in the log
# and whether or not it has a location. Evidence that holds no readable log is never allowed.
package sarif

import rego.v1

# {true} when no more results count than the arguments allow, else {false}: a set, as the published rules compare it.
default allow(_) := {false}

allow(args) := {true} if {
	_runs
	allowed := object.get(args, "max_allowed", 0)
	is_number(allowed)
	count(violations(args)) <= allowed
}

# The results that count: those of a rule, level and precision that the arguments name (none named: of all), less those
# that they ignore.
default violations(_) := [{"ruleID": "", "message": "the evidence holds no readable SARIF log"}]

violations(args) := [_described(run, result) |
	some run in _runs
	some result in object.get(run, "results", [])
	object.get(result, "kind", "fail") in {"fail", "open", "review"}
	_counts(run, result, args)
]

default _counts(_, _, _) := true

_counts(run, result, args) := false if not _named(_id(result), object.get(args, "rule_ids", []))

_counts(run, result, args) := false if {
	levels := _list(object.get(args, "rule_level", []))
	count(levels) > 0
	known := _levels(run, result)
	count(known & {level | some level in levels}) == 0
}

_counts(run, result, args) := false if {
	precisions := _list(object.get(args, "precision", []))
	count(precisions) > 0
	properties := _object(object.get(_rule(run, result), "properties", {}))
	known := {value | some name in ["precision", "security-severity"]; value := properties[name]}
	count(known) > 0
	count(known & {precision | some precision in precisions}) == 0
}

_counts(_, _, args) := false if object.get(args, "ignore", []) == "all"

_counts(_, result, args) := false if _id(result) in _list(object.get(args, "ignore", []))

_named(_, names) if count(_list(names)) == 0

_named(id, names) if id in _list(names)

# The result's own level and its rule's; a warning when neither says (SARIF 2.1.0, 3.27.10).
_levels(run, result) := levels if {
	rule := _rule(run, result)
	levels := {level |
		some level in [object.get(result, "level", ""), object.get(rule, ["defaultConfiguration", "level"], "")]
		level != ""
	}
	count(levels) > 0
} else := {"warning"}

_id(result) := id if {
	id := object.get(result, "ruleId", object.get(result, ["rule", "id"], ""))
}

_rule(run, result) := rules[0] if {
	rules := [rule |
		some rule in object.get(run, ["tool", "driver", "rules"], [])
		object.get(rule, "id", "") == _id(result)
	]
	count(rules) > 0
} else := {}

_described(run, result) := {
	"ruleID": _id(result),
	"file": object.get(result, ["locations", 0, "physicalLocation", "artifactLocation", "uri"], ""),
	"region": object.get(result, ["locations", 0, "physicalLocation", "region"], {}),
	"message": object.get(result, ["message", "text"], ""),
	"level": [level | some level in _levels(run, result)],
	"tool": object.get(run, ["tool", "driver", "name"], ""),
}

# The log's runs. A log without runs says nothing about anything and is not a readable one.
_runs := runs if {
	log := _log(object.get(input, ["evidence", "predicate"], {}))
	runs := log.runs
	is_array(runs)
	count(runs) > 0
	every run in runs {
		is_array(object.get(run, "results", []))
		is_object(run.tool)
	}
}

_log(predicate) := predicate if predicate.runs

else := predicate.content if is_object(predicate.content)

else := json.unmarshal(predicate.content) if startswith(predicate.content, "{")

else := json.unmarshal(base64.decode(predicate.content))

_list(value) := value if is_array(value)

else := []

_object(value) := value if is_object(value)

else := {}
