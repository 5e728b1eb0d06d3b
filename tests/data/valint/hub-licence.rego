package verify

import data.scribe as scribe

default allow = false

default asset = {}

asset = scribe.get_asset_data(input.evidence)

repository := replace(replace(input.evidence.predicate.bom.metadata.component.name, "https://huggingface.co/", ""), ".git", "")

hub := http.send({
	"method": "GET",
	"url": concat("/", ["https://huggingface.co/api/models", repository]),
	"timeout": "30s",
})

allow {
	hub.body.cardData.license == input.config.args.licenses[_]
}

wrong[detail] {
	not allow
	detail := {"model": repository}
}

verify = v {
	v := {
		"allow": allow,
		"violation": {"type": "licence of a model", "details": [detail | wrong[detail]]},
		"asset": asset,
		"summary": [{"allow": allow, "reason": "the model's licence is on the list", "violations": count(wrong)}],
	}
}
