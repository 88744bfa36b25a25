"""Hostile files, configurations and states by chance: no crash, no hang, no raw error, nothing written outside.

`make faults` tries ten times as many, with other numbers each day.
"""

import json
import os
import selectors
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import keras_compress
from tests.levels import extended

ROOT = Path(keras_compress.__file__).parent.parent
COUNT = int(os.environ.get("FUZZ", "300"))
SEED = int(os.environ.get("FUZZ_SEED", "0"))
#: How long one attempt may take, and how long the process takes to start.
SECONDS, STARTING = 20, 240


def attempted(folder, first):
    """Make the attempts from one number on in a process of its own; yield how each ended."""
    command = [sys.executable, "-m", "tests.faults.hostile_files", *map(str, (folder, SEED, first, COUNT - first))]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3"}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT, env=environment
    ) as process:
        begun, seconds = None, STARTING
        try:
            while (line := _line(process.stdout, seconds)) is not None:
                if not line:
                    if process.wait() or begun is not None:
                        words = process.stderr.read().decode(errors="replace")[-1000:]
                        yield {
                            **(begun or {"number": first}),
                            "result": f"died with {process.returncode}",
                            "error": words,
                        }
                    return
                said = json.loads(line)
                if "begins" in said:
                    begun, seconds = said, SECONDS
                else:
                    yield {**said, "begins": begun["begins"]}
                    begun, seconds = None, STARTING
            yield {**(begun or {"number": first}), "result": "hangs"}
        finally:
            process.kill()


def _line(stream, seconds):
    """Return the next line, None if none comes in time."""
    with selectors.DefaultSelector() as selector:
        selector.register(stream, selectors.EVENT_READ)
        until = time.monotonic() + seconds
        return stream.readline() if selector.select(max(until - time.monotonic(), 0)) else None


@extended
def test_no_crash_no_hang_no_raw_error_and_nothing_written_outside(tmp_path):
    ends, first = [], 0
    while first < COUNT:
        ends += attempted(tmp_path, first)
        first = ends[-1]["number"] + 1
    wrong = [end for end in ends if end["result"] not in ("refused", "done") or end.get("touched")]
    assert not wrong, f"{len(wrong)} of {len(ends)}: {json.dumps(wrong[:5], indent=1)}"
    assert len(ends) == COUNT
    counts = Counter(end["result"] for end in ends)
    assert counts["refused"] > COUNT / 3
    assert counts["done"] > 0
