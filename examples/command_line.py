"""The flags that all samples have."""

import argparse
from pathlib import Path


def command_line(description, *, model, size, batch_size, learning_rate):
    """Return a parser with the flags of every sample; the arguments are the defaults that differ.

    Args:
        description: the docstring of the sample, of which the first paragraph is shown.
        model: what ``--model`` names if it is not given.
        size: height and width of the images.
        batch_size, learning_rate: for training.
    """
    parser = argparse.ArgumentParser(
        description=description.split("\n\n")[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--config", type=Path, help="JSON file that says how to compress; without it, train in float")
    parser.add_argument("--data", type=Path, help="folder of the dataset; without it, the sample makes data of its own")
    parser.add_argument("--size", type=int, nargs=2, default=size, metavar=("HEIGHT", "WIDTH"), help="of the images")
    parser.add_argument("--model", default=model, help="a name, or a .keras file with a whole model")
    parser.add_argument("--weights", type=Path, help=".keras or .weights.h5 file to start from")
    parser.add_argument(
        "--epochs", type=int, default=10, help="all together, those before a resumption included; 0 only evaluates"
    )
    parser.add_argument("--batch-size", type=int, default=batch_size)
    parser.add_argument("--learning-rate", type=float, default=learning_rate, help="falls to zero as a cosine")
    parser.add_argument("--weight-decay", type=float, default=0.0, help="decoupled, as in AdamW")
    parser.add_argument("--log-dir", type=Path, help="folder for TensorBoard and epochs.csv")
    parser.add_argument("--checkpoints", type=Path, help="folder to save to after every epoch, and to resume from")
    parser.add_argument("--export", type=Path, help="model.xml, .onnx, .tflite or .pb; .keras for a float model")
    parser.add_argument("--seed", type=int, default=0)
    return parser
