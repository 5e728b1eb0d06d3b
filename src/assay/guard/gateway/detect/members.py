"""Who belongs together: callers of one owner, and of one network. Bounded; a pool of one caller is none."""

from __future__ import annotations

from collections import OrderedDict
from functools import lru_cache

from assay.guard.gateway.interface import Sample
from assay.guard.gateway.networks import network


class Members:
    """Pools by key, as long as they have one caller, and that they have several."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._only: OrderedDict[str, str] = OrderedDict()
        """Pool to its only caller so far; empty where there are several."""

    def __len__(self) -> int:
        return len(self._only)

    def of(self, sample: Sample) -> tuple[str, list[str], tuple[str, str]]:
        """Whose query it is, the pools that have several callers, and owner and network: empty where there is none, or
        where it is the caller itself.
        """
        if not sample.caller or sample.caller.startswith("address:"):
            return f"net:{network(sample.address)}", [], _NOBODY  # nobody was proved: their network tells them apart
        belongs = _belongs(sample.owner, sample.address)
        pools = []
        for name in belongs:
            if not name:
                continue
            only = self._only.get(name)
            if only is None:
                self._only[name] = sample.caller
                if len(self._only) > self._most:
                    self._only.popitem(last=False)
            elif only == "":
                pools.append(name)
            elif only != sample.caller:
                self._only[name] = ""
                pools.append(name)
        return sample.caller, pools, belongs


_NOBODY = "", ""


@lru_cache(4096)
def _belongs(owner: str, address: str) -> tuple[str, str]:
    """Owner and network; all who come by a socket would be neighbours."""
    return f"owner:{owner}" if owner else "", "" if address.startswith("unix") else f"net:{network(address)}"
