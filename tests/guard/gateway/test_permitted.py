"""Permissions against requests that do not say all of what they are about."""

import pytest

from assay.guard.gateway.interface import Permission, Route, Verb
from assay.guard.gateway.permissions import permitted

ONE = (Permission(model="mine"),)


@pytest.mark.parametrize("protocol", ["openai", "sagemaker", "open-inference", "kserve-v1"])
def test_a_list_of_all_models_is_not_for_who_may_see_one(protocol):
    everything = Route(protocol, Verb.METADATA, "", "", "/v1/models")
    assert not permitted(ONE, everything)
    assert permitted((Permission(),), everything)
    assert permitted(ONE, Route(protocol, Verb.METADATA, "mine", "", "/v1/models/{model}"))
    assert not permitted(ONE, Route(protocol, Verb.METADATA, "other", "", "/v1/models/{model}"))


def test_what_the_body_says_is_asked_again():
    unsaid = Route("openai", Verb.CHAT, "", "", "/v1/chat/completions")
    assert permitted(ONE, unsaid) and not permitted(ONE, unsaid, final=True)
    assert not permitted((Permission(protocol="sagemaker"),), unsaid)
    assert permitted(ONE, Route("openai", Verb.CHAT, "mine", "", "/v1/chat/completions"), final=True)
    assert not permitted(ONE, Route("openai", Verb.CHAT, "other", "", "/v1/chat/completions"), final=True)
    version = (Permission(model="mine", version="1"),)
    assert not permitted(version, Route("sagemaker", Verb.INFER, "mine", "", "/invocations"), final=True)
    assert permitted(version, Route("sagemaker", Verb.INFER, "mine", "1", "/invocations"), final=True)
