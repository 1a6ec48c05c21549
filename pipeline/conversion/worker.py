"""Convert inputs in a process of its own, one after the other, as the process that started it asks.

Rules:
- Messages are a Batch and how many processes there are, then a Study and Tasks; answers are PLANES that were written since
  the last time, and each RESULT. How they travel, and how the process ends, is `core.team_worker`'s.
"""

from __future__ import annotations

from time import monotonic

from ..core.findings import PipelineError
from ..core.leftovers import remove_of
from ..core.team_worker import DONE, RESULT, Answers, Inbox, serve
from ..core.unexpected import as_refusal
from ..core.workers import share_cores
from ..crosscheck.panel import Panel
from .convert_entry import Batch, Study, Task, write_items
from .products import Item, items_of, name_input

PLANES = "planes"
_BETWEEN_S = 0.1  # from one message about progress to the next


class _Worker:
    """Does tasks. The products of the last input are kept, since its further parts are likely to be asked for next."""

    def __init__(self, batch: Batch, panel: Panel, answers: Answers) -> None:
        self._batch = batch._replace(details=batch.details._replace(progress=self._count))
        self._panel, self._answers = panel, answers
        self._made: tuple[int, list[Item]] = (-1, [])
        self._last, self._written, self._sent = 0, 0, 0.0

    def do(self, task: Task, study: Study | None) -> None:
        """Do a task, and send each result as soon as it is there."""
        items = self._items(task, study)
        for result in write_items(items, self._batch, self._panel, task.chosen(len(items))):
            self._answers.send(RESULT, result)
        self._answers.send(PLANES, self._written)
        self._last = self._written = 0
        if task.part == task.parts - 1:
            self._made = (-1, [])

    def _items(self, task: Task, study: Study | None) -> list[Item]:
        if self._made[0] != task.number:
            self._made = (-1, [])  # what was made for another input is not held while this one's is made
            entry, found = task.entry, task.found
            if entry is None and study is not None:
                entry, found = study.entries[task.number], study.found
            if entry is None or found is None:
                raise TypeError("a task came without its input")
            self._made = (task.number, list(items_of(entry, found, self._batch.asked)))
        return self._made[1]

    def _count(self, stage: str, done: int, total: int) -> None:
        """Count the planes that are written, and send how many there were, not too often."""
        if stage != "writing":
            return
        self._written += done - self._last if done > self._last else 0
        self._last = done
        if monotonic() - self._sent > _BETWEEN_S:
            self._answers.send(PLANES, self._written)
            self._written, self._sent = 0, monotonic()


def _work(first: tuple[Batch, int], inbox: Inbox, answers: Answers) -> None:
    batch, processes = first
    share_cores(processes)
    study = None
    with Panel(batch.asked.policy) as panel:
        worker = _Worker(batch, panel, answers)
        for message in inbox:
            if isinstance(message, Study):
                study = message
                continue
            inbox.is_working.set()
            try:
                worker.do(message, study)
            except Exception as error:  # of ours: what an input is refused for is a result
                answers.send(RESULT, _named(message, study, as_refusal(error)))
            inbox.is_working.clear()
            answers.send(DONE)


def _named(task: Task, study: Study | None, error: PipelineError) -> PipelineError:
    entry = task.entry if task.entry is not None or study is None else study.entries[task.number]
    return error if entry is None else name_input(entry, error)


def _clear_up(first: tuple[Batch, int], mark: str) -> None:
    remove_of(first[0].folder, mark)


if __name__ == "__main__":
    serve(_work, _clear_up)
