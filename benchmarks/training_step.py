"""What compression costs in training, beside peers: a step of a compressed model over a step of its float model.

    python benchmarks/training_step.py [resnet8 mobilenet_v2] [--jit] [--rounds 12]

Every tool runs in a process of its own, beside the float model in the same TensorFlow. The processes take turns, round by
round, and inside a round the models of one process step by step. A ratio is that of two steps which followed each other; the
table shows the median of the ratios and their quartiles. Steps are of ``train_on_batch`` with 32 images.
"""

import argparse
import statistics
from contextlib import ExitStack

from peers import TOOLS, Worker, ask

from keras_compress.reports.formatting import format_table

NETWORKS = {
    "resnet8": "ResNet-8, 32 x 32",
    "mobilenet_v2": "MobileNetV2 0.35, 96 x 96",
    "mobilenet_v2_full": "MobileNetV2, 224 x 224",
}
TIMED = ["resnet8", "mobilenet_v2"]
STEPS_HEADER = ["network", "tool", "model", "ms per step", "over float", "quartiles"]
MEMORY_HEADER = ["network", "tool", "model", "MB", "over float"]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("networks", nargs="*", default=TIMED, help=f"of {list(NETWORKS)}")
    parser.add_argument("--tools", nargs="*", default=list(TOOLS), choices=TOOLS)
    parser.add_argument("--jit", action="store_true", help="compile steps with XLA")
    parser.add_argument("--rounds", type=int, default=12)
    arguments = parser.parse_args()
    for name in arguments.networks:
        rows = steps(name, arguments.tools, jit=arguments.jit, rounds=arguments.rounds)
        print(format_table(STEPS_HEADER, rows), flush=True)


def steps(network, tools, *, jit=False, rounds=12, steps_per_round=10):
    """Return the rows of a network: for each model of each tool the ratio of its step to that of the float model."""
    found = {}
    with ExitStack() as stack:
        workers = {}
        for tool in tools:
            worker = stack.enter_context(Worker(tool, "steps", network, *(["--jit"] if jit else [])))
            found[tool] = {name: [] for name in worker.read()}
            workers[tool] = worker
        for _ in range(rounds * steps_per_round):
            for tool, worker in workers.items():
                for name, seconds in worker.ask(1).items():
                    found[tool][name] += seconds
    rows = []
    for tool, models in found.items():
        for name, seconds in models.items():
            ratios = [mine / plain for mine, plain in zip(seconds, models["float"], strict=True)]
            low, middle, high = statistics.quantiles(ratios, n=4)
            spread = "" if name == "float" else f"{low:.2f} to {high:.2f}"
            milliseconds = f"{1000 * statistics.median(seconds):.1f}"
            rows.append([NETWORKS[network], TOOLS[tool], name, milliseconds, f"{middle:.2f}", spread])
    return rows


def memory(network, models):
    """Return the rows of a network: peak memory of training, for pairs of tool and model."""
    rows = []
    plain = {tool: ask(tool, "memory", network, "float") for tool in dict(models)}
    for tool, name in models:
        megabytes = ask(tool, "memory", network, name)
        rows.append([NETWORKS[network], TOOLS[tool], name, f"{megabytes:.0f}", f"{megabytes / plain[tool]:.2f}"])
    return rows


if __name__ == "__main__":
    main()
