"""Follow which series arrive from whom, and tell when one is complete: by the association's end, by a number, by quiet time.

Rules:
- Nothing here reads a clock, a file or the network: who calls says when something happened, in seconds of one clock.
- An instance counts once, however often it comes. Before a series counts as complete its folder is looked at: what was taken
  away from it meanwhile is not there.
- Instances are grouped by study and series, whatever association brings them.
- A series is complete by its association's end when every association of its senders has ended in order, and none begins anew
  within `SETTLE_S`: some devices have one association for each instance.
- An association that is broken off may have lost anything of its sender's. Until an association that it opens afterwards ends
  in order, what it has sent unfinished is incomplete, and only a number or quiet time makes it complete.
- A number counts where an instance names it: (0020,1209) of its series, (0020,1208) of its study. Images in Acquisition
  (0020,1002) does not: a series may hold several acquisitions, or a part of one. Where a number says that more is to come, the
  association's end completes nothing.
- An instance that comes after that opens the series again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Literal

from .receiver_store import InstanceFacts

SETTLE_S = 1.0  # after the last association of a sender, before its series are taken for complete
CompletedBy = Literal["", "the association's end", "the number of instances", "quiet time"]
_DIGITS = 10  # of a digest in a name: 40 bits, so that a million series share none by chance


@dataclass(slots=True, eq=False)
class SeriesArrival:
    """One series. expected: how many there are by its sender, 0 for unknown.

    last_s: when the last instance came. broken_s: when an association that may have had more of it was broken off, or this
    program; None for never. completed_by: "" while it is not complete. lacks: why it may be incomplete all the same, in words.
    """

    study: str
    series: str
    modality: str = ""
    is_mask: bool = False
    expected: int = 0
    last_s: float = 0.0
    broken_s: float | None = None
    completed_by: CompletedBy = ""
    lacks: str = ""
    senders: set[str] = field(default_factory=set)
    _instances: set[int] = field(default_factory=set)  # digests: shorter than UIDs
    _fingerprint: int = 0

    @property
    def name(self) -> str:
        """A name that says nothing of anybody, the same for the same UIDs."""
        return f"study-{_digest(self.study)}/series-{_digest(self.series)}"

    @property
    def count(self) -> int:
        """How many instances it has."""
        return len(self._instances)

    @property
    def fingerprint_text(self) -> str:
        """A fingerprint of the set of its instances, as it is written down."""
        return f"{self._fingerprint:032x}"

    def add(self, instance_uid: str) -> bool:
        """Count an instance, once. Returns whether it was not counted yet."""
        number = int.from_bytes(sha256(instance_uid.encode()).digest()[:16], "big")
        if number in self._instances:
            return False
        self._instances.add(number)
        self._fingerprint ^= number
        return True

    def recount(self, instance_uids: Iterable[str]) -> bool:
        """Have these instances and no others. Returns whether that changes it."""
        before, self._instances, self._fingerprint = self._instances, set(), 0
        for uid in instance_uids:
            self.add(uid)
        return self._instances != before

    def learn(self, facts: InstanceFacts) -> None:
        """Take over what an instance says of the series."""
        self.modality = self.modality or facts.modality
        self.is_mask = self.is_mask or facts.is_mask
        self.expected = max(self.expected, facts.series_count)


@dataclass(slots=True)
class _Sender:
    """Somebody who sends. open: its associations, and when each began."""

    open: dict[int, float] = field(default_factory=dict)
    ended_s: float = 0.0
    broken_s: float | None = None


Present = Callable[[SeriesArrival], Iterable[str]]


class Arrivals:
    """All series of a folder. One caller at a time."""

    def __init__(self, quiet_s: float, present: Present | None = None) -> None:
        """Begin with none.

        Args:
            quiet_s: without a new instance make a series complete.
            present: the SOP Instance UIDs that are in the folder of a series; None where nobody takes any away.
        """
        self.series: dict[tuple[str, str], SeriesArrival] = {}
        self._present = present
        self._quiet_s = quiet_s
        self._study_counts: dict[str, int] = {}
        self._senders: dict[str, _Sender] = {}
        self._sender_of: dict[int, str] = {}
        self._open: set[SeriesArrival] = set()  # those that are not complete

    @property
    def is_idle(self) -> bool:
        """Whether no association is open, and every series complete."""
        return not self._sender_of and not self._open

    def restore(self, series: SeriesArrival, facts: InstanceFacts | None, now_s: float) -> None:
        """Take over a series that was received before this program was started.

        Args:
            series: with its instances.
            facts: what one of them says of itself; None where nothing can be read.
            now_s: when.

        Returns: nothing.
        """
        self.series[series.study, series.series] = series
        if facts is not None:
            self._learn(series, facts)
        if not series.completed_by:
            series.broken_s = series.last_s = now_s
            self._open.add(series)

    def begin(self, association: int, sender: str, now_s: float) -> None:
        """Note that an association began.

        Args:
            association: a number of its own.
            sender: who it is, the same for all its associations.
            now_s: when.

        Returns: nothing.
        """
        self._sender_of[association] = sender
        self._senders.setdefault(sender, _Sender()).open[association] = now_s

    def receive(
        self, association: int, facts: InstanceFacts, *, is_new: bool, now_s: float
    ) -> tuple[SeriesArrival, bool]:
        """Note an instance that was kept.

        Args:
            association: that brought it.
            facts: what it says of itself.
            is_new: whether it was not here before.
            now_s: when.

        Returns: its series, and whether that was complete before.
        """
        sender = self._sender_of.get(association, "")
        key = (facts.study, facts.series)
        series = self.series.get(key)
        if series is None:
            series = self.series[key] = SeriesArrival(facts.study, facts.series)
            self._open.add(series)
        was_complete = is_new and series.completed_by != ""
        if is_new:
            if not series.add(facts.instance):  # it was here, and was taken away
                self._recount(series)
            series.completed_by, series.lacks = "", ""
            self._open.add(series)
        self._learn(series, facts)
        if not series.completed_by:
            series.last_s = now_s
            series.senders.add(sender)
            broken_s = self._senders[sender].broken_s if sender in self._senders else None
            series.broken_s = series.broken_s if series.broken_s is not None else broken_s
        return series, was_complete

    def end(self, association: int, *, in_order: bool, now_s: float) -> list[SeriesArrival]:
        """Note that an association ended.

        Args:
            association: which.
            in_order: whether its sender released it; else it was broken off.
            now_s: when.

        Returns: the series that are incomplete by that.
        """
        name = self._sender_of.pop(association, None)
        if name is None:
            return []
        sender = self._senders[name]
        began_s = sender.open.pop(association)
        sender.ended_s = now_s
        of_sender = [series for series in self._open if name in series.senders]
        if not in_order:
            sender.broken_s = now_s
            for series in of_sender:
                series.broken_s = now_s
            return of_sender
        if sender.broken_s is not None and sender.broken_s <= began_s:
            sender.broken_s = None
        for series in of_sender:
            if series.broken_s is not None and series.broken_s <= began_s:
                series.broken_s = None
        return []

    def take_complete(self, now_s: float) -> list[SeriesArrival]:
        """The series that are complete by now, and were not before, in the order of their last instances."""
        complete = []
        for series in self._open:
            series.completed_by = self._judge(series, now_s)
            if series.completed_by and self._recount(series):
                series.completed_by = self._judge(series, now_s)
            if series.completed_by:
                series.lacks = self._lack(series)
                series.senders.clear()
                complete.append(series)
        self._open.difference_update(complete)
        return sorted(complete, key=lambda series: series.last_s)

    def of_study(self, study: str) -> Iterable[SeriesArrival]:
        """All series of a study."""
        return [series for series in self.series.values() if series.study == study]

    def _recount(self, series: SeriesArrival) -> bool:
        return self._present is not None and series.recount(self._present(series))

    def _learn(self, series: SeriesArrival, facts: InstanceFacts) -> None:
        series.learn(facts)
        if facts.study_count:
            self._study_counts[facts.study] = max(facts.study_count, self._study_counts.get(facts.study, 0))

    def _judge(self, series: SeriesArrival, now_s: float) -> CompletedBy:
        if series.expected and series.count >= series.expected:
            return "the number of instances"
        if series.study in self._study_counts and not self._lacked(series.study):
            return "the number of instances"
        if self._has_ended(series, now_s):
            return "the association's end"
        return "quiet time" if now_s - series.last_s >= self._quiet_s else ""

    def _has_ended(self, series: SeriesArrival, now_s: float) -> bool:
        if series.broken_s is not None or series.count < series.expected or not series.senders:
            return False
        if self._lacked(series.study):
            return False
        senders = [self._senders[name] for name in series.senders if name in self._senders]
        return all(not sender.open and now_s - sender.ended_s >= SETTLE_S for sender in senders)

    def _lack(self, series: SeriesArrival) -> str:
        if series.completed_by == "the number of instances":
            return ""
        if series.count < series.expected:
            return f"its sender counts {series.expected} instances"
        if self._lacked(series.study):
            return f"its sender counts {self._study_counts[series.study]} instances of its study"
        return "its sending was broken off" if series.broken_s is not None else ""

    def _lacked(self, study: str) -> int:
        """How many instances of a study are still to come by its number; 0 where there is none."""
        expected = self._study_counts.get(study, 0)
        return max(0, expected - sum(series.count for series in self.of_study(study))) if expected else 0


def _digest(uid: str) -> str:
    return sha256(uid.encode()).hexdigest()[:_DIGITS]
