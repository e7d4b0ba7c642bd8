"""Fuzz all targets, each in a process of its own. Exits with 1 if one of them failed, and keeps its input.

Usage: `python -m tests.fuzz --minutes 10 [--seed 7] [TARGET ...]`.
"""

import argparse
import random
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.fuzz.targets import make_targets


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz")
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(2**31))
    parser.add_argument("targets", nargs="*")
    options = parser.parse_args()
    names = options.targets or list(make_targets())
    folder = Path(tempfile.mkdtemp(prefix="fuzz-"))
    print(f"seed {options.seed}, inputs in {folder}")
    failed = 0
    for name in names:
        file = folder / name
        command = [sys.executable, "-m", "tests.fuzz.one_target", name, str(60 * options.minutes / len(names))]
        done = subprocess.run([*command, str(options.seed), str(file)], capture_output=True, text=True, check=False)
        if done.returncode == 0:
            print(f"{name}: {int(done.stdout):,} inputs, no fault")
        else:
            failed += 1
            print(f"{name}: ended with {done.returncode} for the input {file}\n{done.stderr[-4000:]}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
