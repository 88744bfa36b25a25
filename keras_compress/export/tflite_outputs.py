"""Integer outputs that something else in a TensorFlow Lite file reads as floats.

The converter makes an output an integer by taking away what turns it into floats, also from other operations that read those, and
the file cannot run. So such an output gets a quantizer of its own, which the converter does not take for the one before.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from keras_compress.export.graph_editing import add_constant, node_name, readers_of
from keras_compress.export.tflite_grids import Grids

__all__ = ["part_outputs"]


def part_outputs(graph_def: tf.compat.v1.GraphDef, outputs: Sequence[str]) -> None:
    """Put a quantizer in front of every output that has a grid and that other nodes read too, in place.

    Its range is that of the grid, but for the last bit.
    """
    nodes = {node.name: node for node in graph_def.node}
    readers = readers_of(graph_def)
    grids = Grids(graph_def, nodes)
    for name in outputs:
        output = nodes[name]
        grid = grids.of(name)
        if grid is None or output.op != "Identity" or len(readers[node_name(output.input[0])]) == 1:
            continue
        ends = np.float32(grid[0]), np.nextafter(np.float32(grid[1]), np.float32(np.inf))
        inputs = [
            add_constant(graph_def, f"{name}/apart_{part}", end)
            for part, end in zip(("low", "high"), ends, strict=True)
        ]
        node: Any = graph_def.node.add(op="FakeQuantWithMinMaxVars", name=f"{name}/apart")
        node.input.extend([output.input[0], *inputs])
        node.attr["num_bits"].i = 8
        output.input[0] = node.name
