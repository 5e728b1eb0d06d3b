"""Rules in order of priority: whose requests are blocked, challenged, counted or let through, by what they are."""

from assay.guard.gateway.rules.ruleset import Ruleset as Ruleset
from assay.guard.gateway.rules.ruleset import compile as compile
