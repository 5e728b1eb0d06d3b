"""Licences as they are stated: an SPDX expression where the text is one, else the text as written.

Nothing is guessed: a name that only resembles a licence, or a licence text with one clause more, stays
unparsed.
"""

from __future__ import annotations

import hashlib
import re
from functools import cache
from typing import Any

from assay.collect.bom.interface import Licence

MAX_EXPRESSION = 500
"""Characters of an expression that is parsed or kept."""

_WORD = re.compile(r"[A-Za-z0-9.+-]+")
_REFERENCE = re.compile(r"(?:DocumentRef-[A-Za-z0-9.-]+:)?LicenseRef-[A-Za-z0-9.-]+")
_SUPERSEDED = re.compile(r"(?:agpl|lgpl|gpl|gfdl)-\d\.\d\+?")
"""Ids of SPDX before 3.0, which the library turns into ``-only`` and ``-or-later``."""


def parse_licence(text: str, source: str) -> Licence:
    """The licence that ``text``, found at ``source``, names.

    Ids are recognised whatever their case (``apache-2.0`` is ``Apache-2.0``) and written as SPDX writes
    them. What is no SPDX expression (``llama2``, ``openrail``, ``other``, ``see LICENSE``) is kept as it
    is, with ``spdx`` false.
    """
    written = " ".join(text.split())
    if len(written) > MAX_EXPRESSION:
        return Licence(written[:MAX_EXPRESSION] + "…", False, source)
    expression = _expression(written)
    return Licence(expression or written, expression is not None, source)


def _expression(text: str) -> str | None:
    """``text`` as a normalised SPDX expression, or None."""
    if text in _FREQUENT:
        return _FREQUENT[text]
    if _REFERENCE.fullmatch(text):
        return text
    # References to licences that SPDX does not list are valid, but unknown to the library: it sees stand-ins.
    references = list(dict.fromkeys(_REFERENCE.findall(text)))
    if len(references) > len(_STAND_INS):
        return None
    replaced = dict(zip(references, _STAND_INS, strict=False))
    try:
        found = _licensing().parse(_REFERENCE.sub(lambda match: replaced[match[0]], text), validate=True)
        expression = found.render() if found is not None else None
    except Exception:  # the library raises AttributeError and others beside its own errors on malformed text
        return None
    if expression is None or not _only_ids(text, expression):
        return None
    for reference, stand_in in replaced.items():
        expression = re.sub(rf"(?<![A-Za-z0-9.-]){re.escape(stand_in)}(?![A-Za-z0-9.-])", reference, expression)
    return str(expression)


def _only_ids(text: str, expression: str) -> bool:
    """Whether every word of ``text`` is an SPDX id and not an alias that the library also knows (``gpl``)."""
    ids = {word.lower() for word in _WORD.findall(expression)}
    words = (word.lower() for word in _WORD.findall(_REFERENCE.sub("", text)))
    return "licenseref-scancode" not in expression.lower() and all(
        word in ids or _SUPERSEDED.fullmatch(word) for word in words
    )


def licence_of_text(text: str, source: str) -> Licence | None:
    """The licence that a licence file's whole text is; None when it is none that is known word by word.

    Compared is everything but copyright notices, the title, punctuation, line breaks and numbering, so that
    a text with one sentence more or less is not taken for the licence it resembles. A text that several ids
    share is given the narrow one (``GPL-3.0-only``). A file that consists of an ``SPDX-License-Identifier``
    says so itself.
    """
    if match := _IDENTIFIER.fullmatch(text):
        stated = parse_licence(match[1], source)
        return stated if stated.spdx else None
    found = TEXTS.get(fingerprint(text))
    return Licence(found, True, source) if found else None


def fingerprint(text: str) -> str:
    """128 bits, in hex, of a licence text without what differs between honest copies of it."""
    text = _RESERVED.sub("", _NOTICE.sub("", text.lower())).replace("http://", "https://")
    joined = "".join(word for word in re.findall(r"[a-z0-9]+", text) if len(word) > 1)
    joined = joined.replace("copyrightowner", "copyrightholder").replace("copyrightholders", "copyrightholder")
    joined = _NAMES.sub("neitherthenameof", joined)
    title = _TITLE.match(joined)
    return hashlib.sha256(joined[title.end() if title else 0 :].encode()).hexdigest()[:32]


@cache
def _licensing() -> Any:
    from license_expression import get_spdx_licensing

    return get_spdx_licensing()


_FREQUENT = {"mit": "MIT", "MIT": "MIT", "apache-2.0": "Apache-2.0", "Apache-2.0": "Apache-2.0"}
"""Answered without the library, whose index takes longer to load than the rest of a small bill of
materials.
"""

_IDENTIFIER = re.compile(r"\W*spdx-license-identifier:[ \t]*([^\n]{1,200}?)\s*", re.IGNORECASE)
_NOTICE = re.compile(r"^[^\w\n]{0,20}copyright[ \t]{0,9}(\(c\)|©|\d|[<\[{]).*$", re.MULTILINE)
_RESERVED = re.compile(r"all rights reserved")
_NAMES = re.compile(r"neitherthenameof.{1,80}?northenamesof(its|any)(of(its|any))?contributors")
_TITLE = re.compile(
    r"(the)?(mitlicense(mit)?|bsd[23]clauselicense|[23]clausebsdlicense|bsdlicense|isclicense(isc)?"
    r"|(new|modified|revised|simplified)bsdlicense"
    r"|bsd[23]clause(new|modified|revised|simplified|(new)?or(revised|simplified))license)"
)

_STAND_INS = ("0BSD", "AAL", "Abstyles", "Adobe-2006")
"""Real ids that nobody writes beside a LicenseRef."""

TEXTS = {
    "1e61cb6181ba42bed8614e3bb5beb78e": "AGPL-3.0-only",
    "20156d692e2eae9611baed593471a3b2": "AGPL-3.0-only",
    "3ef47170fbc3eda5a068252ca75aafd6": "AGPL-3.0-only",
    "7e26713f93c2ee65b4fdc553b87376e9": "AGPL-3.0-only",
    "bcc3ce3aa6311fa0e92b22251f291787": "AGPL-3.0-only",
    "c63037ad0423686421ba8d8a05fe29e1": "AGPL-3.0-only",
    "e9f1ab902f9b7aa6ef58078ce604e55d": "AGPL-3.0-only",
    "07b644356dd52eac99794cbd35ba9f76": "Apache-2.0",
    "243911c7e6a16283dfb3726881f68b82": "Apache-2.0",
    "4dfdddb51243743d51f082574182b185": "Apache-2.0",
    "d6a080811fb57129cb159207f2c04b15": "Apache-2.0",
    "0d18f8878d7d700552b7a070520adbcb": "BSD-2-Clause",
    "2cbb68d297693ab4e381ac6d814e886e": "BSD-3-Clause",
    "47e6d30de016661b6852f649eeb70c9b": "BSD-3-Clause",
    "5321bacabc3db351a80e45f4033e3902": "BSD-3-Clause",
    "acf195aa0a5f8bd3ef426f8bf8790c29": "BSD-3-Clause",
    "f20cc4247ceb722042e91cb869a72e38": "BSD-3-Clause",
    "7747a42e27c951277f09c001839d689e": "BSL-1.0",
    "07d41cfc1c7fabbc94857d7fd33a12f0": "CC-BY-3.0",
    "23004d81cbfc7439f06f45ae5bd6c4ce": "CC-BY-3.0",
    "8b8ceb2c58df9a9f1a637a1a5a0b2ee1": "CC-BY-3.0",
    "ce7a150e344b01b6792c1637a9ba7e8b": "CC-BY-3.0",
    "6c2ed4143fdd057fb5a8d42ba1a8cd61": "CC-BY-4.0",
    "aacf2ebc7a0217f5d1a0f44f65de6244": "CC-BY-4.0",
    "235144b94850cbf9d5b5a2995efb77ef": "CC-BY-NC-4.0",
    "7d7af2b7a6a5d55bab6934e60cf43ee3": "CC-BY-NC-ND-4.0",
    "67479257dc041ec49d11a9d98e5d684e": "CC-BY-NC-SA-4.0",
    "f0a5b2e1548f7894bca4e213a0236c09": "CC-BY-ND-4.0",
    "16136403f6532e542f29703e50bf0a3c": "CC-BY-SA-3.0",
    "375fa8142afd032051a6b57301ec9f46": "CC-BY-SA-3.0",
    "47aaaf6c7ead05bf68de40bce5e380bc": "CC-BY-SA-3.0",
    "685da06f7398420d1e8f1d34501d75bb": "CC-BY-SA-3.0",
    "8ed3de80e88c6cd1e354eda33ee58f26": "CC-BY-SA-3.0",
    "952a71b8fa94531ec702ead9828575fa": "CC-BY-SA-3.0",
    "6efee6520d847107c825c92d444fa2c9": "CC-BY-SA-4.0",
    "0364c0f5f4acfff2a97fc1daa268b31d": "CC0-1.0",
    "10a193606522040061e8e8ef9bfea75b": "CC0-1.0",
    "15056f138cae0836befe37dd70c683d0": "CC0-1.0",
    "2e087a60dd8699eb1d30213ba71f5568": "CC0-1.0",
    "35ea181bda00edd044f2945b96201255": "CC0-1.0",
    "49608c0a6ff65df528fdfb3c1faaa238": "CC0-1.0",
    "7f93219c9cbbb7c99ccffce1079c36fa": "CC0-1.0",
    "9cbef5c4e8710a0fc19a202bed119907": "CC0-1.0",
    "b37637f84e2f3507c8f0437c0b974eb8": "CC0-1.0",
    "bbcce756f5c5950927ef6d02b8b20247": "CC0-1.0",
    "c07bf1768b36e8d622bd1063ea6f9669": "CC0-1.0",
    "b54396990f199df544642d99b66f143e": "EPL-2.0",
    "079abd46df2482548265cbe83981e5f7": "GPL-2.0-only",
    "1ca7c5c84cfe6337964357b6b8454940": "GPL-2.0-only",
    "1fe020fe471f9a001fad122fd113444b": "GPL-2.0-only",
    "2ae4bba360ca8dd439754222683c791f": "GPL-2.0-only",
    "2c53a5ee3c4d2a870bc0468010d44b23": "GPL-2.0-only",
    "2df89789c7cc2817c64af701e5685334": "GPL-2.0-only",
    "43d96447e5997815608b0042ae0e4ff3": "GPL-2.0-only",
    "4597bdc674fda30ff606cd571b1d3bfc": "GPL-2.0-only",
    "4eadd1bd1b7c47a67ece7ad0252ab95d": "GPL-2.0-only",
    "526edd12946d754b3345d268cc857a5b": "GPL-2.0-only",
    "52d3503a4e8ad0968dc590db0b019fda": "GPL-2.0-only",
    "53ab7a20551bc995955e3dd3bd5fdd30": "GPL-2.0-only",
    "5582a00a0141574d729541484c3c5130": "GPL-2.0-only",
    "56248aef80792a5995503c23679ad5c8": "GPL-2.0-only",
    "6480c1605f0a112dec76cbd7774ec5fc": "GPL-2.0-only",
    "6791087c9aabd6fef9527279a4319850": "GPL-2.0-only",
    "6aa279c325aeaa79cb1fc21bb5554b57": "GPL-2.0-only",
    "72017d5014971b718e44c9d5b7130361": "GPL-2.0-only",
    "857a45d0c2cba9cec8f7c16f578b8bf3": "GPL-2.0-only",
    "8816444e1d80b7868ed4bf4d2128b86c": "GPL-2.0-only",
    "9228bf38e018e641769664546afc10b2": "GPL-2.0-only",
    "93cb6c387a3154f617c5029fe84fac3a": "GPL-2.0-only",
    "9ce667a46fb83f2f8c0dd30d6d32d478": "GPL-2.0-only",
    "b1d820fcddd19a723b4b4006c3dbf43f": "GPL-2.0-only",
    "bf48e77e6152713a4c413d922281c2e4": "GPL-2.0-only",
    "d1cb59d1f03cb668db4cf811ab07f8e0": "GPL-2.0-only",
    "de3e6b46883661fec57d1a646d1d1551": "GPL-2.0-only",
    "e245d6cc604a7a81b395bd7390a32f00": "GPL-2.0-only",
    "f64593f11ca61ec4699e821b6f72e55e": "GPL-2.0-only",
    "f920aaa934cbb58889b7a23dad2a334f": "GPL-2.0-only",
    "f9635a9ad28050e2460641def4293421": "GPL-2.0-only",
    "0220b65e7893b2a1490bc3aebf255fe7": "GPL-3.0-only",
    "0cd90aaf3bc0de6d0776dbc7a86e606c": "GPL-3.0-only",
    "111c5518cfea386bffdd9a8c6d7d0418": "GPL-3.0-only",
    "25e4c32921769fca4bf84d3bcc938548": "GPL-3.0-only",
    "41624d24c92db737151b33b0df8d776d": "GPL-3.0-only",
    "8a4f24fbe59c414f6cbaae58c001e19f": "GPL-3.0-only",
    "c96b8e15abe182c272b6476e15c7f8d1": "GPL-3.0-only",
    "d7ae338780f956e64ad7f1e1e23a2c59": "GPL-3.0-only",
    "d9e7a0442fd0fdf35593d980c1621adb": "GPL-3.0-only",
    "2ca2d1ff4c9cab1849313ddab628dd07": "ISC",
    "4198d593db29acfd17f360d58733910d": "ISC",
    "0a5ad0766aef3f3d1783c0b9af209231": "LGPL-2.1-only",
    "3f8b39dbddccf3d08d699d1f9b1da2f2": "LGPL-2.1-only",
    "51570e7dc288bf4540dbb11c5222be23": "LGPL-2.1-only",
    "662dab69f88d2d3f44057f45e3dd2eac": "LGPL-2.1-only",
    "68779fc3caf5a23da352fc96036f5192": "LGPL-2.1-only",
    "9a583a7b9be73a1a5eb38fb44b905821": "LGPL-2.1-only",
    "a391253e685dc5a983894126d58b5dd5": "LGPL-2.1-only",
    "d58dc7a59cb2b0a099624890600f557c": "LGPL-2.1-only",
    "dad368b9d9bc53a6c75b0b50ca7f76b0": "LGPL-2.1-only",
    "e96e157d2976b17182cc06f56ce0183b": "LGPL-2.1-only",
    "1ace9198f6c23cfabe41d77f987c47e0": "LGPL-3.0-only",
    "91b914f5e0535f0067babfbd08fdc524": "LGPL-3.0-only",
    "9e25ea6dd9a0d1c97d0e71f2582dfe09": "LGPL-3.0-only",
    "ec05d6722fb8960d51482947a08ea0f3": "LGPL-3.0-only",
    "61d9273c531d2c58047397e68699256e": "MIT",
    "4cd10080667665376ef43e3ac59df766": "MPL-2.0",
    "cdcc8ede29d6be2f9f4d253fbbc3600a": "Unlicense",
    "d7d6fa3083778d036c514e5be5cf9ce7": "Zlib",
}
"""Fingerprints of the texts that SPDX lists and of common copies of them (with and without appendices)."""
