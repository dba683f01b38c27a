"""A search in a process of its own that kills itself at a chosen moment, as a power cut would.

    python killed_tune.py BARS FOLDER N    dies at the Nth move; 0 never dies

Moves are those of `killed.py`. Prints how many there were.
"""

import sys
from pathlib import Path

from killed import Killer

from study.searches import search
from walkforge import study


def main() -> None:
    bars, folder, dies_at = sys.argv[1:]
    killer = Killer(Path(folder), "", int(dies_at))
    sys.addaudithook(killer.on_event)
    if (Path(folder) / "study.yaml").exists():
        study.resume_tuning(Path(folder), watcher=killer)
    else:
        study.tune(search(f"data.bars={bars}"), Path(folder), watcher=killer)
    sys.stdout.write(f"{killer.moves}\n")


if __name__ == "__main__":
    main()
