"""Who belongs together: callers of one owner, and of one network. Bounded; a pool of one caller is none."""

from __future__ import annotations

from collections import OrderedDict

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

    def of(self, sample: Sample) -> tuple[str, list[str], int]:
        """Whose query it is, the pools that have several callers, and the group."""
        nearby = f"net:{network(sample.address)}"
        if not sample.caller or sample.caller.startswith("address:"):
            return nearby, [], hash(nearby)  # nobody was proved: their network tells them apart
        if sample.address.startswith("unix"):
            nearby = ""  # all who come by a socket would be neighbours
        pools = []
        owner = f"owner:{sample.owner}" if sample.owner else ""
        for name in (owner, nearby):
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
        return sample.caller, pools, hash(owner or nearby or sample.caller)
