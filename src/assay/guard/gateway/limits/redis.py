"""Counters of several machines, brought together through Redis or Valkey by a thread of one process of each machine.
No request ever waits for it.

Every `settings.Redis.every` each machine adds what was used on it to a stream and reads what the others added (one
script, one round trip). Between two rounds each machine knows all but the last round of the others, so of a limit at
most ``machines * rate * every`` more are let through, where ``rate`` is what one machine would let through in that
time; what was too much is then counted, and waited for. The script takes a machine's n-th message once, whatever is
sent again after a time-out. Quotas also stand in a hash of each machine as totals, so that a machine that comes back,
or a Redis that has lost everything, begins with what is true; of windows and rates a crashed Redis may lose the last
round.
"""

from __future__ import annotations

import logging
import os
import random
import threading
import time
from typing import TYPE_CHECKING, Any

import msgspec

from assay.errors import MissingExtraError, UsageError
from assay.guard.gateway.limits.exchange import Digest, Exchange, News, Total
from assay.guard.gateway.limits.file import REFUSE_AFTER, SKEW, Clock
from assay.guard.gateway.limits.periods import start_of
from assay.guard.gateway.limits.shared import Shared
from assay.guard.gateway.settings.around import Redis

if TYPE_CHECKING:
    import redis

KEPT = 512
"""Messages that the stream keeps, about; who was away for longer loses windows and rates that are mostly over."""
AT_ONCE = 512
"""Messages that are read at once."""
LONGEST_PAUSE = 5.0
"""Seconds between two attempts while Redis is gone."""
PATIENCE = 2.0
"""Seconds for an answer."""
YEAR = 400 * 86400
"""Seconds that the totals of a machine that is no more still count; longer than any period but a life."""

_SCRIPT = """
local p, boot, machine, number, last, kept = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4]), ARGV[5], ARGV[6]
local message, joins, reread, year, most = ARGV[7], ARGV[8], ARGV[9], ARGV[10], ARGV[11]
local mine, stream = p .. 'quotas:' .. machine, p .. 'news'
local known = redis.call('SISMEMBER', p .. 'machines', machine)
if number > tonumber(redis.call('GET', p .. 'number:' .. boot) or '0') then
  if message ~= '' then redis.call('XADD', stream, 'MAXLEN', '~', kept, '*', 'from', boot, 'news', message) end
  if joins == '1' then redis.call('SADD', p .. 'machines', machine) end
  for i = 12, #ARGV, 2 do redis.call('HSET', mine, ARGV[i], ARGV[i + 1]) end
  redis.call('EXPIRE', mine, year)
  redis.call('SET', p .. 'number:' .. boot, ARGV[4], 'EX', 86400)
end
if last == '' then
  local newest = redis.call('XREVRANGE', stream, '+', '-', 'COUNT', 1)
  last = newest[1] and newest[1][1] or '0-0'
end
local others = {}
if reread == '1' then
  most = 1000000
  for _, other in ipairs(redis.call('SMEMBERS', p .. 'machines')) do
    if other ~= machine then others[#others + 1] = redis.call('HGETALL', p .. 'quotas:' .. other) end
  end
end
return {known, last, redis.call('XRANGE', stream, '(' .. last, '+', 'COUNT', most), others}
"""


class Unsent(msgspec.Struct, frozen=True):
    """A message that may or may not have arrived."""

    number: int
    message: bytes
    totals: list[str]
    joins: bool
    """Whether it says all that there is to say, after having been away."""


def client(settings: Redis) -> redis.Redis:
    """Connects when it is used. Raises `UsageError` for a URL that is none, `MissingExtraError` without the library."""
    try:
        import redis
        from redis.backoff import NoBackoff
        from redis.retry import Retry
    except ImportError:
        raise MissingExtraError("counters of several machines", "gateway") from None
    try:
        return redis.Redis.from_url(
            settings.url,
            socket_timeout=PATIENCE,
            socket_connect_timeout=PATIENCE,
            retry=Retry(NoBackoff(), 0),
            health_check_interval=0,
        )
    except ValueError as error:
        raise UsageError(f"redis.url: {error}", hint="redis://:password@host:6379/0, rediss://… or unix://…") from None


class Synced:
    """What keeps a machine's `Shared` counters in step with other machines'. One for each machine."""

    def __init__(self, counters: Shared, settings: Redis) -> None:
        """Raises `UsageError` for a URL that is none, `MissingExtraError` without the library. Connects in `start`."""
        if not counters.synced:
            raise ValueError("counters that are not kept apart cannot be synced")
        self._client = client(settings)
        self._script = self._client.register_script(_SCRIPT)
        self._counters = counters
        self._settings = settings
        self._exchange = Exchange(counters)
        self._boot = os.urandom(8).hex()
        self._sequence = 0
        self._last = ""
        self._unsent: Unsent | None = None
        self._joining = True
        """Whether the next message has to say everything."""
        self._clock = Clock()
        self._reread = False
        """Whether somebody else's has."""
        self._stopping = threading.Event()
        self._given_up = False
        self._turn = threading.Lock()
        self._thread: threading.Thread | None = None
        self.connected = False
        """Whether the last round went through."""
        self.rounds = 0
        """How many have."""
        self.failed = 0
        """How many have not."""
        self._log = logging.getLogger("assay.gateway")
        self._good_until()

    def start(self) -> None:
        """Begin, in a thread of this process; after forking, if at all."""
        self._thread = threading.Thread(target=self._run, name="assay-redis", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End after a last round, so that a clean stop loses nothing; a Redis that does not come to an end is hung up
        on.
        """
        self._stopping.set()
        if self._thread is not None:
            self._thread.join(2 * PATIENCE)
            if self._thread.is_alive():
                self._given_up = True
                self._client.connection_pool.disconnect()
                self._thread.join(PATIENCE)
        if self._turn.acquire(timeout=PATIENCE):
            self._exchange.close()
            self._turn.release()
        self._client.close()

    def sync(self) -> bool:
        """One round now; whether it went through. What `start` does again and again."""
        with self._turn:
            try:
                self._round()
            except Exception as error:  # also one of ours, or an answer of a strange kind: this thread must not end
                self.failed += 1
                if self.connected or self.failed == 1:
                    done = "limits count alone" if self._settings.gone == "local" else "requests will be refused"
                    self._log.warning("redis does not answer (%s): %s", type(error).__name__, done)
                self.connected, self._joining = False, True
                return False
            if not self.connected and self.failed:
                self._log.warning("redis answers again: limits count together")
            self.connected = True
            self.rounds += 1
            self._good_until()
            return True

    def _run(self) -> None:
        pause = every = float(self._settings.every)
        while not self._stopping.wait(pause):
            longer = min(LONGEST_PAUSE, max(pause, 0.05) * 2) * random.uniform(0.75, 1.0)  # noqa: S311 - no secret
            pause = every if self.sync() else longer
        if not self._given_up:
            self.sync()

    def _good_until(self) -> None:
        """Where it is closed without Redis: until when requests are let through, also should this thread end."""
        if self._settings.gone == "closed":
            self._counters.file.words[REFUSE_AFTER] = time.time_ns() + int(self._settings.after * 1e9)

    def _round(self) -> None:
        now, steady = time.time(), time.clock_gettime(time.CLOCK_BOOTTIME)
        if self._clock.stepped_back():  # quotas go back into periods in which others have used something, too
            self._counters.file.clock_was_set_back()
            self._reread = True
        if self._unsent is None:
            self._sequence += 1
            news, totals = self._exchange.news(steady)
            if self._joining:
                news.quotas, news.reread, totals = [], True, self._exchange.all_quotas()
            message = msgspec.msgpack.encode(news) if news else b""
            self._unsent = Unsent(self._sequence, message, _fields(totals), self._joining)
        unsent, reread = self._unsent, self._joining or self._reread
        arguments: list[Any] = [self._settings.prefix, self._boot, self._counters.file.identity, unsent.number]
        arguments += [self._last, KEPT, unsent.message, int(unsent.joins), int(reread), YEAR, AT_ONCE, *unsent.totals]
        known, start, messages, others = self._script(args=arguments)
        self._unsent = None
        # Who is not known although it has joined: Redis has lost what it had. A message from before an outage does not
        # say all that is to be said after it.
        self._joining = not unsent.joins and (self._joining or not known)
        self._reread = False
        self._last = self._last or start.decode()
        # What others said until now is in the totals that were read in the same moment.
        self._take_in(messages, now, steady, quotas=not reread)
        if reread:
            self._exchange.set_others(_used(others, now), now)

    def _take_in(self, messages: list[Any], now: float, steady: float, *, quotas: bool) -> None:
        for number, parts in messages:
            self._last = number.decode()
            told = dict(zip(parts[::2], parts[1::2], strict=False))
            if told.get(b"from") == self._boot.encode():
                continue
            try:
                news = msgspec.msgpack.decode(told.get(b"news", b""), type=News)
            except msgspec.DecodeError:
                self._log.warning("redis: a message that is no news of counters is passed over")
                continue
            self._exchange.absorb(news, now, steady, quotas=quotas)
            self._reread = self._reread or (news.reread and quotas)


def _fields(totals: list[Total]) -> list[str]:
    """Names and values of a machine's hash: a quota's digest, its period and use."""
    fields = []
    for high, low, period, own in totals:
        fields += [f"{high & _WORD:016x}{low & _WORD:016x}", f"{period}:{own!r}"]
    return fields


_WORD = (1 << 64) - 1


def _used(others: list[list[bytes]], now: float) -> dict[Digest, tuple[int, float]]:
    """What others have used together in the latest period that one of them knows and that has begun."""
    used: dict[Digest, tuple[int, float]] = {}
    for fields in others:
        for name, value in zip(fields[::2], fields[1::2], strict=False):
            try:
                digest = _signed(int(name[:16], 16)), _signed(int(name[16:], 16))
                period, amount = int(value.partition(b":")[0]), float(value.partition(b":")[2])
            except (ValueError, OverflowError):
                continue
            if start_of(period) > now + SKEW:
                continue
            before = used.get(digest, (period, 0.0))
            if period > before[0]:
                used[digest] = period, amount
            elif period == before[0]:
                used[digest] = period, before[1] + amount
    return used


def _signed(word: int) -> int:
    word &= _WORD
    return word - (1 << 64) if word >> 63 else word
