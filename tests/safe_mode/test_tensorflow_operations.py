"""What a graph of a file may consist of: operations that TensorFlow has, and none that reaches out of the graph."""

import re

import pytest
import tensorflow as tf
from tensorflow.python.framework import op_def_registry

from keras_compress.safe_mode.tensorflow_operations import HARMLESS_OPERATIONS

#: What the names of operations have in common that read or write files, call Python, talk to others, or read data.
REACHES_OUT = re.compile(
    r"File|PyFunc|Save|Restore|Dataset|Iterator|Reader|Summary|Send|Recv|Rpc|RemoteCall|Collective|Nccl|Debug|TPU|Xla|Queue|Stage"
    r"|Checkpoint|Dump|Record|Session|Custom|Immutable|Config|Abort|LoadAndRemap|Vocab"
)


def test_every_operation_is_one_of_tensorflow():
    known = {name for name in dir(tf.raw_ops) if op_def_registry.get(name) is not None}
    assert {name for name in HARMLESS_OPERATIONS if not name.startswith("_")} <= known
    assert len(HARMLESS_OPERATIONS) > 700


def test_none_reaches_out():
    assert [name for name in sorted(HARMLESS_OPERATIONS) if REACHES_OUT.search(name)] == []


@pytest.mark.parametrize(
    "name",
    [
        *(
            "WriteFile",
            "ReadFile",
            "MatchingFiles",
            "PyFunc",
            "PyFuncStateless",
            "EagerPyFunc",
            "SaveV2",
            "RestoreV2",
            "PrintV2",
        ),
        *(
            "MergeV2Checkpoints",
            "InitializeTableFromTextFileV2",
            "TFRecordReaderV2",
            "ImmutableConst",
            "Abort",
            "RemoteCall",
        ),
        *(
            "DebugIdentityV3",
            "XlaCallModule",
            "TextLineDataset",
            "CreateSummaryFileWriter",
            "LoadAndRemapMatrix",
            "Nope",
        ),
    ],
)
def test_what_reaches_out_is_not_listed(name):
    assert name not in HARMLESS_OPERATIONS
