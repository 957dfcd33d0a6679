"""Many changed inputs by hand: `make fuzz`, or `python tests/fuzz/fuzz.py --inputs 1000000 --seed 7`.

Every input is drawn from its own seed, read once in this process, and counted after it was read or refused. The table
has one row for each reader. A fault prints its seed and its input, and the exit code is 1.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from fuzzed_logs import LOG_READERS
from fuzzed_readers import READERS as OWN_READERS
from fuzzed_readers import Fuzzed, was_read

READERS = OWN_READERS | LOG_READERS
SHOWN = 5
"""Different faults of one reader that are printed in full."""


@dataclass
class Tally:
    """The inputs of one reader by their outcome; `faults` counts by the place that raised."""

    read: int = 0
    refused: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    seconds: float = 0

    @property
    def inputs(self) -> int:
        return self.read + self.refused + self.faults.total()


def run(name: str, fuzzed: Fuzzed, seeds: range, folder: Path) -> Tally:
    """Read one input for each seed."""
    tally = Tally()
    begin = time.perf_counter()
    for seed in seeds:
        given = fuzzed.make(Random(f"{name} {seed}"))
        try:
            if was_read(fuzzed, folder, given):
                tally.read += 1
            else:
                tally.refused += 1
        except Exception as error:  # noqa: BLE001 - every exception but UserError is a finding
            place = traceback.extract_tb(error.__traceback__)[-1]
            kind = f"{type(error).__name__} at {Path(place.filename).name}:{place.lineno}"
            tally.faults[kind] += 1
            if tally.faults[kind] == 1 and len(tally.faults) <= SHOWN:
                sys.stdout.write(f"\n{name}, seed {seed}: {repr(given)[:2000]}\n{traceback.format_exc(limit=-6)}\n")
    tally.seconds = time.perf_counter() - begin
    return tally


def main() -> None:
    """Run the readers and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--inputs", type=int, default=100_000, help="inputs of all readers together")
    parser.add_argument("--seed", type=int, default=0, help="first seed; other seeds are other inputs")
    parser.add_argument("--reader", help="only readers whose name holds this text")
    asked = parser.parse_args()
    warnings.simplefilter("ignore")
    chosen = {name: f for name, f in READERS.items() if not asked.reader or asked.reader in name}
    weights = sum(f.weight for f in chosen.values())
    sys.stdout.write(f"{'reader':28}{'inputs':>9}{'seconds':>9}{'read':>9}{'refused':>9}{'faults':>8}\n")
    tallies = []
    for name, fuzzed in chosen.items():
        count = -(-asked.inputs * fuzzed.weight // weights)
        with tempfile.TemporaryDirectory() as folder:
            tally = run(name, fuzzed, range(asked.seed, asked.seed + count), Path(folder))
        tallies.append(tally)
        sys.stdout.write(_row(name, tally))
        sys.stdout.flush()
    faults = sum((tally.faults for tally in tallies), Counter[str]())
    whole = Tally(
        sum(t.read for t in tallies), sum(t.refused for t in tallies), faults, sum(t.seconds for t in tallies)
    )
    sys.stdout.write(_row("all", whole))
    sys.stdout.writelines(f"  {count} x {kind}\n" for kind, count in faults.most_common())
    sys.exit(1 if faults else 0)


def _row(name: str, t: Tally) -> str:
    return f"{name:28}{t.inputs:9}{t.seconds:9.1f}{t.read:9}{t.refused:9}{t.faults.total():8}\n"


if __name__ == "__main__":
    main()
