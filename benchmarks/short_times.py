"""Short waits that a user notices: importing the package beside TensorFlow, and ranges of least error of three million weights.

    python benchmarks/short_times.py

Each is processor time of a process of its own; medians of five.
"""

import statistics
import subprocess
import sys

from keras_compress.reports.formatting import format_table

HEADER = ["what", "seconds of processor time", "limit"]
IMPORTING = """
import time, tensorflow, tf_keras
start = time.process_time()
import keras_compress
print(time.process_time() - start)
"""
RANGES = """
import time, numpy
from keras_compress.calibration import RangeInitializer, calibrate_weight
from keras_compress.layers import SymmetricFakeQuantize
weight = numpy.random.default_rng(0).normal(size=(2_000, 1_500)).astype("float32")
quantizer = SymmetricFakeQuantize(8, narrow_range=True, channel_axes=(-1,))
quantizer.build(weight.shape)
start = time.process_time()
calibrate_weight(quantizer, weight, RangeInitializer(type="mse"))
print(time.process_time() - start)
"""
WORK = {
    "importing keras_compress after TensorFlow": (IMPORTING, 0.5),
    "ranges of least error, 2,000 x 1,500 weights per channel": (RANGES, 10.0),
}


def short_times(rounds=5):
    """Return a row for each kind of work."""
    return [
        [what, f"{statistics.median(_seconds(script) for _ in range(rounds)):.2f}", f"{limit:g}"]
        for what, (script, limit) in WORK.items()
    ]


def _seconds(script):
    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    return float(done.stdout.split()[-1])


if __name__ == "__main__":
    print(format_table(HEADER, short_times()))
