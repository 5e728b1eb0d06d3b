"""Reads the type and vocabulary size out of a ``tokenizer.json``, which can have tens of megabytes.

It never builds a tokenizer. Source: https://github.com/huggingface/tokenizers (``tokenizers/src/models``).
"""

from __future__ import annotations

import msgspec

from assay.collect.headers.reading import clean
from assay.errors import DocumentError

MAX_PARTS = 3_000_000
"""Commas in a vocabulary, which bounds the objects that it becomes; the largest have half a million
entries.
"""


class _Model(msgspec.Struct):
    """The ``model`` member."""

    vocab: msgspec.Raw = msgspec.Raw()
    """A map of token to id (BPE, WordPiece, WordLevel) or a list of token and score (Unigram)."""
    type: str | None = None


class _Tokenizer(msgspec.Struct):
    """The members that are read."""

    model: _Model | None = None
    version: str | None = None


def vocabulary(data: bytes) -> tuple[list[tuple[str, object]], list[str]]:
    """Facts (``tokenizer_model``, ``vocabulary_size``) and warnings. `DocumentError` when it is no such
    JSON.
    """
    try:
        document = msgspec.json.decode(data, type=_Tokenizer)
        if document.model is None:
            return [], ["it has no model"]
        facts: list[tuple[str, object]] = []
        if document.model.type:
            facts.append(("tokenizer_model", clean(document.model.type)[:100]))
        raw = bytes(document.model.vocab)
        if not raw:
            return facts, ["the model has no vocabulary"]
        if raw.count(b",") > MAX_PARTS:
            raise DocumentError("its vocabulary is too large")
        if raw.startswith(b"{"):
            facts.append(("vocabulary_size", len(msgspec.json.decode(raw, type=dict[str, int]))))
        else:
            facts.append(("vocabulary_size", len(msgspec.json.decode(raw, type=list[tuple[str, float]]))))
    except RecursionError:
        raise DocumentError("it is nested too deeply") from None
    except (msgspec.MsgspecError, ValueError) as error:
        raise DocumentError(f"it is not a tokenizer: {clean(str(error))[:200]}") from None
    return facts, []
