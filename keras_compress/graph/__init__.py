"""Where compression happens: the model as a value, and pure functions on it."""

from keras_compress.graph.edits import (
    Edit,
    InsertLayer,
    WrapWeight,
    apply_edits,
    edit_from_dict,
    edit_to_dict,
)
from keras_compress.graph.layer_lookup import register_layer_spec, spec_of
from keras_compress.graph.layer_spec import LayerRole, LayerSpec, WeightSpec
from keras_compress.graph.names import unused_name
from keras_compress.graph.passes.strip import strip
from keras_compress.graph.snapshot import ModelSnapshot, build, take
from keras_compress.graph.view import GraphNode, ModelGraph, NodeRef, TensorRef

__all__ = [
    "Edit",
    "GraphNode",
    "InsertLayer",
    "LayerRole",
    "LayerSpec",
    "ModelGraph",
    "ModelSnapshot",
    "NodeRef",
    "TensorRef",
    "WeightSpec",
    "WrapWeight",
    "apply_edits",
    "build",
    "edit_from_dict",
    "edit_to_dict",
    "register_layer_spec",
    "spec_of",
    "strip",
    "take",
    "unused_name",
]
