"""Make cases in a process of its own, one after the other, as the process that started it asks.

Rules:
- Messages are what makes a case, the plan, the output folder and how many processes there are; then numbers of cases. The
  answer to each is one RESULT. How they travel, and how the process ends, is `core.team_worker`'s.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ...core.team_worker import DONE, RESULT, Answers, Inbox, serve
from ...core.unexpected import as_refusal
from ...core.workers import share_cores
from ..making.case_folder import remove_work


def _work(first: Any, inbox: Inbox, answers: Answers) -> None:
    make, plan, out, processes = first
    share_cores(processes)
    for number in inbox:
        inbox.is_working.set()
        try:
            answers.send(RESULT, make(plan, number, out))
        except Exception as error:
            answers.send(RESULT, as_refusal(error, f"case {number + 1} of the plan"))
        inbox.is_working.clear()
        answers.send(DONE)


def _clear_up(first: tuple[Any, Path, Path, int], mark: str) -> None:
    remove_work(first[2], mark)


if __name__ == "__main__":
    serve(_work, _clear_up)
