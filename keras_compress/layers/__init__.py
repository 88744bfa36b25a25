"""What is done to a tensor: Keras layers that own every variable that compression adds."""

from keras_compress.layers.asymmetric_fake_quantize import AsymmetricFakeQuantize
from keras_compress.layers.binarize import BinaryActivation, BinaryWeight
from keras_compress.layers.calibrated_op import CalibratedOp, bypassed_unless, observed
from keras_compress.layers.compressed_layer import CompressedLayer, weight_owner
from keras_compress.layers.constant import Constant
from keras_compress.layers.fake_quantize import FakeQuantize
from keras_compress.layers.fixed_fake_quantize import FixedFakeQuantize
from keras_compress.layers.fixed_threshold import FixedThreshold
from keras_compress.layers.operator_call import OperatorCall
from keras_compress.layers.parameter import Parameter
from keras_compress.layers.pointwise_dense import PointwiseDense
from keras_compress.layers.sparsity_mask import BinaryMask, SparsityMask
from keras_compress.layers.stochastic_gate import StochasticGate
from keras_compress.layers.symmetric_fake_quantize import SymmetricFakeQuantize
from keras_compress.layers.weight_op import IntegerWeight, Stage, WeightOp, fixed_fits

__all__ = [
    "AsymmetricFakeQuantize",
    "BinaryActivation",
    "BinaryMask",
    "BinaryWeight",
    "CalibratedOp",
    "CompressedLayer",
    "Constant",
    "FakeQuantize",
    "FixedFakeQuantize",
    "FixedThreshold",
    "IntegerWeight",
    "OperatorCall",
    "Parameter",
    "PointwiseDense",
    "SparsityMask",
    "Stage",
    "StochasticGate",
    "SymmetricFakeQuantize",
    "WeightOp",
    "bypassed_unless",
    "fixed_fits",
    "observed",
    "weight_owner",
]
