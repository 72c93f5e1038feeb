"""The figures of a hosted server as Prometheus reads them.

Everything is counted where it happens, in plain numbers; here they are only put into words. Labels are of bounded
kinds: tools of the registry, outcomes of the code, personas, connections and keys of the store.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import anyio
import sqlalchemy as sa
from prometheus_client import CollectorRegistry, PlatformCollector, ProcessCollector
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from sqlalchemy.exc import SQLAlchemyError

from scale_mcp.hosting.approvals import approvals
from scale_mcp.hosting.clock import Clock, stamp, utc_now
from scale_mcp.hosting.events.leases import WAITING
from scale_mcp.hosting.events.tables import deliveries, inbox
from scale_mcp.hosting.tally import BOUNDS
from scale_mcp.server.hosted.sessions import Sessions
from scale_mcp.server.hosted.streams import Streams
from scale_mcp.server.logs import get_logger
from scale_mcp.version import version

if TYPE_CHECKING:
    from scale_mcp.hosting.house import House

log = get_logger(__name__)

PATIENCE = 5.0  # seconds for what has to be asked of the store
KEY_STATES = ("ready", "cooling", "probation", "refused")
IN_THE_STORE = {
    "scale_mcp_approvals_waiting": "Calls that wait for the operator's yes.",
    "scale_mcp_inbox_waiting": "Callbacks that are not worked off yet.",
    "scale_mcp_webhook_deliveries_waiting": "Deliveries to webhooks that are not made yet.",
}

Values = Mapping[Any, float]  # by a tuple of the labels' values


@dataclass
class Doors:
    """What is known of this process's doors."""

    sessions: Sessions
    streams: Streams
    callbacks: Counter[str]  # by what became of them
    answers: Counter[tuple[str, int]] = field(default_factory=Counter)  # of HTTP, by door and status


class Figures:
    """The numbers of a house and its doors, and of the process."""

    def __init__(self, house: House, doors: Doors, clock: Clock = utc_now) -> None:
        self._house = house
        self._doors = doors
        self._clock = clock
        self._process = CollectorRegistry(auto_describe=False)
        ProcessCollector(registry=self._process)
        PlatformCollector(registry=self._process)

    async def gathered(self) -> list[Metric]:
        """All of them, as of now."""
        return [*self._process.collect(), *self._of_this_process(), *await self._of_the_store()]

    def _of_this_process(self) -> Iterator[Metric]:
        house, tally = self._house, self._house.tally
        yield _gauge("scale_mcp_info", "The version that runs.", {(version(),): 1}, "version")
        yield _counter("scale_mcp_calls", "Tool calls, by tool and outcome.", tally.by_tool, "tool", "outcome")
        yield _counter(
            "scale_mcp_persona_calls",
            "Tool calls, by persona and outcome.",
            tally.by_persona,
            "persona",
            "outcome",
        )
        yield self._durations()
        yield _gauge("scale_mcp_calls_in_flight", "Tool calls that are running.", {(): tally.in_flight})
        yield _counter(
            "scale_mcp_budget_refusals",
            "Calls that a persona's budget did not allow.",
            house.budgets.refusals,
            "persona",
            "limit",
        )
        yield from self._of_scale()
        yield from self._of_the_trail()
        yield _counter(
            "scale_mcp_callbacks",
            "Callbacks of Scale, by what became of them.",
            _single(self._doors.callbacks),
            "outcome",
        )
        yield _counter(
            "scale_mcp_webhook_tries", "Tries to deliver to a webhook.", _single(house.sender.tries), "outcome"
        )
        yield _counter("scale_mcp_http_answers", "HTTP answers.", self._doors.answers, "door", "status")
        yield _gauge("scale_mcp_sessions_open", "Sessions of older clients on /mcp.", {(): len(self._doors.sessions)})
        streams = len(self._doors.streams) if self._doors.streams is not None else 0
        yield _gauge("scale_mcp_streams_open", "Open event streams.", {(): streams})

    def _durations(self) -> Metric:
        family = HistogramMetricFamily("scale_mcp_call_seconds", "How long tool calls take.", labels=["tool"])
        for tool, durations in self._house.tally.seconds.items():
            reached, buckets = 0, []
            for bound, count in zip((*BOUNDS, None), durations.counts, strict=True):
                reached += count
                buckets.append(("+Inf" if bound is None else repr(bound), float(reached)))
            family.add_metric([tool], buckets, durations.total)
        return family

    def _of_scale(self) -> Iterator[Metric]:
        answers: dict[tuple[str, ...], float] = {}
        by_key: dict[tuple[str, ...], float] = {}
        states: dict[tuple[str, ...], float] = {}
        retries: dict[tuple[str, ...], float] = {}
        in_flight: dict[tuple[str, ...], float] = {}
        for account in self._house.accounts.open_ones():
            name, pool = account.name, account.api.keys
            if pool is None:
                continue
            fingerprints = {key.id: key.fingerprint for key in account.record.keys}
            answers |= {(name, status): count for status, count in pool.answers.items()}
            retries[name,] = pool.retries
            healths = pool.health()
            in_flight[name,] = sum(health.in_flight for health in healths)
            for state in KEY_STATES:
                states[name, state] = sum(health.state == state for health in healths)
            for health in healths:
                key = fingerprints.get(health.name, health.name)
                counts = {"ok": health.ok, "limited": health.limited, "failed": health.failed}
                by_key |= {(name, key, outcome): count for outcome, count in counts.items()}
        yield _counter(
            "scale_mcp_scale_answers",
            "Answers of Scale by class of status; none where no answer came.",
            answers,
            "connection",
            "status",
        )
        yield _counter("scale_mcp_scale_retries", "Requests to Scale that were sent again.", retries, "connection")
        yield _gauge("scale_mcp_scale_in_flight", "Requests to Scale under way.", in_flight, "connection")
        yield _counter(
            "scale_mcp_key_answers",
            "Answers by key, whose fingerprint is shown: ok, limited (429) or failed.",
            by_key,
            "connection",
            "key",
            "outcome",
        )
        yield _gauge("scale_mcp_keys", "Keys in use, by how they fare.", states, "connection", "state")

    def _of_the_trail(self) -> Iterator[Metric]:
        recorder = self._house.recorder
        yield _counter("scale_mcp_audit_rows", "Rows written to the audit trail.", {(): recorder.rows})
        yield _counter(
            "scale_mcp_audit_unrecorded_reads",
            "Reads that went on without a row in the trail.",
            {(): recorder.unrecorded_reads},
        )
        yield _counter(
            "scale_mcp_audit_late_outcomes",
            "Outcomes that could not be written to the trail at once.",
            {(): recorder.unfinished},
        )
        yield _gauge(
            "scale_mcp_audit_failing",
            "1 while the trail cannot be written; writes are refused then.",
            {(): recorder.failing},
        )

    async def _of_the_store(self) -> list[Metric]:
        """What all replicas share. Left out when the store does not answer in time."""
        counted: dict[str, int] = {}
        try:
            with anyio.fail_after(PATIENCE):
                async with self._house.database.reading() as connection:
                    for name, query in self._queries().items():
                        counted[name] = (await connection.execute(query)).scalar_one()
        except (SQLAlchemyError, OSError, TimeoutError) as problem:
            log.warning("metrics_without_store", problem=type(problem).__name__)
        families: list[Metric] = [
            _gauge(name, f"{IN_THE_STORE[name]} The same in every replica.", {(): count})
            for name, count in counted.items()
        ]
        up = len(counted) == len(IN_THE_STORE)
        return [*families, _gauge("scale_mcp_store_up", "1 if the store answered just now.", {(): up})]

    def _queries(self) -> dict[str, sa.Select[int]]:
        waiting = sa.and_(approvals.c.state == "waiting", approvals.c.expires_at > stamp(self._clock()))
        return {
            "scale_mcp_approvals_waiting": _how_many(approvals, waiting),
            "scale_mcp_inbox_waiting": _how_many(inbox, inbox.c.state == WAITING),
            "scale_mcp_webhook_deliveries_waiting": _how_many(deliveries, deliveries.c.state == WAITING),
        }


def _how_many(table: sa.Table, where: sa.ColumnElement[bool]) -> sa.Select[int]:
    return sa.select(sa.func.count()).select_from(table).where(where)


def _single(counts: Mapping[str, int]) -> Values:
    return {(word,): count for word, count in counts.items()}


def _counter(name: str, words: str, values: Values, *labels: str) -> Metric:
    return _filled(CounterMetricFamily(name, words, labels=labels), values)


def _gauge(name: str, words: str, values: Values, *labels: str) -> Metric:
    return _filled(GaugeMetricFamily(name, words, labels=labels), values)


def _filled(family: CounterMetricFamily | GaugeMetricFamily, values: Values) -> Metric:
    for labels, value in values.items():
        family.add_metric([str(label) for label in labels], float(value))
    return family
