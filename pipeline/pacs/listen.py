"""Listen for senders, group what arrives by series, and convert each series once it is complete.

Rules:
- Below the output folder: incoming/, received/STUDY/SERIES/INSTANCE.dcm, nifti/study-…/series-…/, status/study-…/series-….json.
- A mask waits until every image series of its study is complete, since it is put on the grid of one of them; where one comes
  or changes later, the mask is made again. So it is with series of other studies that it names, once that was read from it.
- What is said holds names of ours, titles and addresses: nothing of any instance but its modality.
- A receiver that is started again on its folder goes on where the last one was, however that ended.
"""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from threading import Event, RLock
from time import monotonic
from typing import NamedTuple

from ..core.extras import imported
from ..core.findings import PipelineError
from ..core.policy import Policy
from ..core.write_refusals import cannot_write
from .arrival import Arrivals, SeriesArrival
from .arrival_record import ArrivalRecord, completed_by, read_record, write_record
from .listen_conversion import ConversionJob, ConversionReport, SeriesConverter
from .receiver import Receiver, ReceiverSettings
from .receiver_store import ENDING, InstanceFacts, ReceivedFolder, read_facts

RECEIVED, RESULTS, STATUS = "received", "nifti", "status"
_TURN_S = 0.1  # between two looks at what is complete
_UNCHANGED = ("CONVERTED", "PASSED", "REFUSED")  # states of a result that fits what it was made of

Say = Callable[[str], None]


class ListenSettings(NamedTuple):
    """How to listen and convert. quiet_s: without a new instance make a series complete.

    free_bytes: that stay free on the disk. stop_after_s: end where so long nothing came and all is converted; None for never.
    """

    receiver: ReceiverSettings
    output: Path
    policy: Policy
    quiet_s: float
    free_bytes: int
    stop_after_s: float | None = None


class _Association(NamedTuple):
    """One that is open. counts: of instances that were new, and of those that were here already."""

    sender: str
    counts: dict[bool, int]


class Listener:
    """Receives and converts until it is told to stop. Its state is guarded by one lock; senders have threads of their own."""

    def __init__(self, settings: ListenSettings, say: Say) -> None:
        """Open the folder. Raises NO_PACS_PACKAGE, CANNOT_WRITE."""
        imported("pacs", "pynetdicom")  # before a folder is made
        self._settings, self._say = settings, say
        self._lock, self._wake = RLock(), Event()
        self._last_s = monotonic()
        self._associations: dict[int, _Association] = {}
        self._records: dict[str, ArrivalRecord] = {}
        self._by_name: dict[str, SeriesArrival] = {}
        self._waiting: dict[str, SeriesArrival] = {}
        self._at_work: dict[str, str] = {}  # the key that each is made of
        self._arrivals = Arrivals(settings.quiet_s, self._present)
        try:
            self._folder = ReceivedFolder(settings.output / RECEIVED, settings.free_bytes)
        except OSError as error:
            raise cannot_write(settings.output.name, error) from error
        self.receiver = Receiver(settings.receiver, self._folder, self)

    def run(self) -> None:
        """Read what is there, and listen until `stop_after_s`, or until KeyboardInterrupt.

        Raises: BAD_OPTION where the port cannot be had, COHORT_IN_USE where another receives into the folder, CANNOT_WRITE.
        """
        settings = self._settings
        with self._folder.taken():
            try:
                self._restore()
            except OSError as error:
                raise cannot_write(settings.output.name, error) from error
            self.receiver.start()
            converter = SeriesConverter(settings.policy, settings.output / RESULTS, self._converted)
            try:
                self._follow(converter)
            finally:
                self.receiver.stop()
                converter.close()

    def _follow(self, converter: SeriesConverter) -> None:
        """Hand out what is complete until nothing comes any more."""
        receiver = self._settings.receiver
        self._say(f"listening at {self.receiver.host}:{self.receiver.port} as {receiver.title}")
        while not self._is_over():
            self._wake.wait(_TURN_S)
            self._wake.clear()
            self.receiver.look()
            with self._lock:
                self._take_complete()
                self._hand_out(converter)
        self._say(f"ended, since nothing came for {self._settings.stop_after_s:g} s")

    def records(self) -> list[tuple[SeriesArrival, ArrivalRecord]]:
        """What is known of every series, in the order of their names."""
        with self._lock:
            known = ((self._by_name[name], record) for name, record in self._records.items())
            return sorted(known, key=lambda pair: pair[0].name)

    # What the receiver tells, from its threads

    def began(self, association: int, sender: str) -> None:
        """See `ReceiverEvents`."""
        with self._lock:
            self._last_s = monotonic()
            self._associations[association] = _Association(sender, {True: 0, False: 0})
            self._arrivals.begin(association, sender, self._last_s)

    def kept(self, association: int, facts: InstanceFacts, *, is_new: bool) -> None:
        """See `ReceiverEvents`.

        Args:
            association: that brought it.
            facts: what it says of itself.
            is_new: whether it was not here before.

        Returns: nothing.
        """
        with self._lock:
            self._last_s = monotonic()
            if association in self._associations:
                self._associations[association].counts[is_new] += 1
            series, was_complete = self._arrivals.receive(association, facts, is_new=is_new, now_s=self._last_s)
            if series.name not in self._records:
                self._by_name[series.name] = series
                self._records[series.name] = ArrivalRecord("RECEIVING")
            if was_complete:
                self._waiting.pop(series.name, None)
                self._judge_study(series.study)

    def ended(self, association: int, *, in_order: bool) -> None:
        """See `ReceiverEvents`."""
        with self._lock:
            self._last_s = monotonic()
            ended = self._associations.pop(association)
            incomplete = self._arrivals.end(association, in_order=in_order, now_s=self._last_s)
            how = "ended" if in_order else "was broken off"
            again = f", {ended.counts[False]} that were here already" if ended.counts[False] else ""
            if any(ended.counts.values()) or not in_order:  # others only asked whether anybody is there
                self._say(f"association from {ended.sender} {how}: {_count(ended.counts[True])}{again}")
            for series in incomplete:
                self._say(f"{series.name}: INCOMPLETE with {_count(series.count)}, until it is sent again or quiet")

    def refused(self, sender: str, why: str) -> None:
        """See `ReceiverEvents`."""
        self._say(f"refused: {sender}: {why}")

    # What this program does with it

    def _restore(self) -> None:
        """Take over what is in the folder already."""
        now_s = monotonic()
        for study, uid, instances in self._folder.found():
            series = SeriesArrival(study, uid)
            for instance in instances:
                series.add(instance)
            facts = read_facts(self._folder.folder_of(study, uid) / f"{instances[0]}{ENDING}")
            record = read_record(self._status_of(series)) or ArrivalRecord("RECEIVING")
            if not all((self._results_of(series) / name).exists() for name in record.report.files):
                record = record._replace(state="STALE")  # somebody took a result away
            if record.instances == series.fingerprint_text:
                series.completed_by, series.lacks = completed_by(record.completed_by), record.lacks
            self._arrivals.restore(series, facts, now_s)
            self._by_name[series.name], self._records[series.name] = series, record
        for study in {series.study for series in self._by_name.values()}:
            for series in self._arrivals.of_study(study):
                if series.completed_by and self._records[series.name].state not in _UNCHANGED:
                    self._waiting[series.name] = series
            self._judge_study(study)

    def _take_complete(self) -> None:
        for series in self._arrivals.take_complete(monotonic()):
            lacks = f", INCOMPLETE ({series.lacks})" if series.lacks else ""
            what = f"{series.modality or 'unknown modality'}, {_count(series.count)}"
            self._say(f"{series.name}: {what}, complete by {series.completed_by}{lacks}")
            before = self._records[series.name]
            self._write(
                series,
                before._replace(
                    state="STALE" if before.made_of else "COMPLETE",
                    completed_by=series.completed_by,
                    lacks=series.lacks,
                    instances=series.fingerprint_text,
                ),
            )
            self._waiting[series.name] = series
            self._judge_study(series.study)

    def _hand_out(self, converter: SeriesConverter) -> None:
        """Hand out each series that waits and needs to wait no more."""
        for name, series in list(self._waiting.items()):
            is_early = series.is_mask and any(not image.completed_by for image in self._images_of(series))
            if is_early or name in self._at_work:
                continue
            del self._waiting[name]
            self._at_work[name] = self._key(series)
            images = tuple(map(self._received, self._images_of(series))) if series.is_mask else ()
            converter.put(name, ConversionJob(self._received(series), images, self._results_of(series), series.is_mask))

    def _converted(self, name: str, report: ConversionReport) -> None:
        """Note what came of a conversion."""
        with self._lock:
            self._last_s = monotonic()
            series = self._by_name[name]
            record = self._records[name].after(report, self._at_work.pop(name))
            self._write(series, record)
            stale = f"; STALE and still there: {len(record.stale)}" if record.stale else ""
            self._say(f"{name}: {record.state}{_describe(report)}{stale}")
            self._judge_study(series.study)
        self._wake.set()

    def _judge_study(self, study: str) -> None:
        """Mark every result that a study is part of and that no longer fits what it would be made of; have it made again."""
        for series in self._touched_by(study):
            name, record = series.name, self._records[series.name]
            if name in self._at_work or not record.made_of or record.made_of == self._key(series):
                continue
            if record.state != "STALE":
                what = "STALE" if record.report.files else "to be tried again"
                is_changed = series.fingerprint_text != record.instances
                why = "its instances are others now" if is_changed else "there are images for it that were not there"
                self._say(f"{name}: {what}, since {why}")
                self._write(series, record._replace(state="STALE"))
            if series.completed_by:
                self._waiting[name] = series

    def _key(self, series: SeriesArrival) -> str:
        """Everything that a result is made of: the instances of a series, and for a mask those of its images."""
        own = series.fingerprint_text
        if not series.is_mask:
            return own
        images = sorted(image.fingerprint_text for image in self._images_of(series) if image.completed_by)
        return sha256(" ".join([own, *images]).encode()).hexdigest()[:32]

    def _images_of(self, mask: SeriesArrival) -> list[SeriesArrival]:
        """The image series of its study, and those that it names."""
        named = self._records[mask.name].report.named
        near = self._arrivals.series.values() if named else self._arrivals.of_study(mask.study)
        return [one for one in near if not one.is_mask and (one.study == mask.study or one.series in named)]

    def _touched_by(self, study: str) -> list[SeriesArrival]:
        """All series of a study, and the masks of others that name one of them."""
        of_study = list(self._arrivals.of_study(study))
        uids = {series.series for series in of_study}
        elsewhere = (
            self._by_name[name] for name, record in self._records.items() if uids.intersection(record.report.named)
        )
        return of_study + [mask for mask in elsewhere if mask.study != study]

    def _write(self, series: SeriesArrival, record: ArrivalRecord) -> None:
        self._records[series.name] = record
        try:
            write_record(self._status_of(series), record, series)
        except PipelineError as error:  # the disk may be full; what is received is there all the same
            self._say(f"{series.name}: its status was not written: {error.finding.message}")

    def _status_of(self, series: SeriesArrival) -> Path:
        return self._settings.output / STATUS / f"{series.name}.json"

    def _results_of(self, series: SeriesArrival) -> Path:
        return self._settings.output / RESULTS / series.name

    def _present(self, series: SeriesArrival) -> list[str]:
        return self._folder.instances_of(series.study, series.series)

    def _received(self, series: SeriesArrival) -> Path:
        return self._folder.folder_of(series.study, series.series)

    def _is_over(self) -> bool:
        stop_after_s = self._settings.stop_after_s
        with self._lock:
            busy = self._waiting or self._at_work or not self._arrivals.is_idle
            return stop_after_s is not None and not busy and monotonic() - self._last_s >= stop_after_s


def _describe(report: ConversionReport) -> str:
    files = ", ".join(f"{report.verdicts.count(v)} {v}" for v in dict.fromkeys(report.verdicts))
    codes = ", ".join(dict.fromkeys(error.finding.code.name for error in report.refused))
    return "".join(f", {words}" for words in (files, codes) if words)


def _count(instances: int) -> str:
    return f"{instances} instance{'' if instances == 1 else 's'}"
