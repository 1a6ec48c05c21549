"""Write the valid files that each entry point starts from: `python -m tests.fuzz.oss_fuzz.corpus FOLDER`."""

from __future__ import annotations

import sys
import zipfile
from pathlib import Path

from tests.fuzz.oss_fuzz.one_input import FILES
from tests.fuzz.seeds import seeds


def write_corpus(folder: Path) -> None:
    """Write ENTRY_seed_corpus.zip for every entry point, as OSS-Fuzz wants them."""
    folder.mkdir(parents=True, exist_ok=True)
    made = {seed.name: seed for seed in seeds({name for name, _ in FILES.values()})}
    for entry, (name, target) in FILES.items():
        with zipfile.ZipFile(folder / f"{entry}_seed_corpus.zip", "w") as archive:
            archive.writestr(zipfile.ZipInfo(Path(target).name, (2020, 1, 1, 0, 0, 0)), made[name].files[target])


if __name__ == "__main__":
    write_corpus(Path(sys.argv[1]))
