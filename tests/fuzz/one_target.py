"""Fuzz one target in this process: `python -m tests.fuzz.one_target NAME SECONDS SEED FILE`.

The current input lies in FILE, so that it is known if it ends this process. Prints the number of inputs.
"""

import contextlib
import signal
import sys
import time
from pathlib import Path

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from shared.errors import ServiceError
from shared.processes.limits import ProcessLimits
from tests.fuzz.targets import Target, make_targets

MAX_BYTES = 512 * 2**20
EXAMPLES = 200
"""Inputs of one run of Hypothesis. The time is checked between two runs."""
INTERESTING = (
    b"\0",
    b"\xff",
    b"\xff\xff\xff\xff",
    b"\0\0\0\0",
    b"\x7f\xff\xff\xff",
    b"9" * 30,
    b'"',
    b"\n",
    b"-1",
    b"1e999",
)

Edit = tuple[str, int, bytes]


def mutate(data: bytes, edits: list[Edit]) -> bytes:
    """Apply edits at positions of the data, which wrap around its end."""
    result = bytearray(data)
    for kind, at, piece in edits:
        position = at % (len(result) + 1)
        if kind == "replace":
            result[position : position + len(piece)] = piece
        elif kind == "insert":
            result[position:position] = piece
        elif kind == "delete":
            del result[position : position + 1 + len(piece) * 4]
        else:
            result[position:position] = result[position : position + 64] * (1 + len(piece))
    return bytes(result)


def fuzz(target: Target, seconds: float, first_seed: int, file: Path) -> int:
    """Read mutated seeds until the time is over. Returns their number. Raises what the target must not raise."""
    limits, until, count = ProcessLimits(), time.monotonic() + seconds, 0
    piece = st.one_of(st.binary(min_size=1, max_size=8), st.sampled_from(INTERESTING))
    edit = st.tuples(
        st.sampled_from(["replace", "replace", "insert", "delete", "repeat"]), st.integers(0, 2**16), piece
    )

    @settings(
        max_examples=EXAMPLES,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(st.sampled_from(target.seeds), st.lists(edit, min_size=1, max_size=8))
    def read(start: bytes, edits: list[Edit]) -> None:
        nonlocal count
        count += 1
        data = mutate(start, edits)
        file.write_bytes(data)
        signal.alarm(target.max_seconds)  # the default action ends the process
        with contextlib.suppress(ServiceError), limits.hold(MAX_BYTES, None):
            target.read(data)
        signal.alarm(0)

    while time.monotonic() < until:
        seed(first_seed + count)(read)()
    return count


if __name__ == "__main__":
    name, seconds, first_seed, path = sys.argv[1:]
    print(fuzz(make_targets()[name], float(seconds), int(first_seed), Path(path)))
