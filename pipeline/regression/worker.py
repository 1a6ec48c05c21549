"""Run cases in a process of its own, one after the other, as the process that started it asks.

Rules:
- Messages are the list of cases with all that they share and how many processes there are; then numbers of cases. The answer
  to each is one RESULT. How they travel, and how the process ends, is `core.team_worker`'s.
"""

from __future__ import annotations

from typing import Any

from ..core.team_worker import DONE, RESULT, Answers, Inbox, serve
from ..core.workers import share_cores
from .run_case import run_case


def _work(first: Any, inbox: Inbox, answers: Answers) -> None:
    cases, chosen, read_options, folder, fetch, processes = first
    share_cores(processes)
    for number in inbox:
        inbox.is_working.set()
        answers.send(RESULT, run_case(cases, chosen[number], read_options, folder, fetch=fetch))
        inbox.is_working.clear()
        answers.send(DONE)


def _clear_up(_: Any, __: str) -> None:
    """Remove nothing: the folder of the run goes with the process that made it."""


if __name__ == "__main__":
    serve(_work, _clear_up)
