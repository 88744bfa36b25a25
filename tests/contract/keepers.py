"""Layers and model classes that keep variables, layers and drawn numbers in every place where Python can keep them."""

import functools
import threading

import numpy as np
import tensorflow as tf

from keras_compress._keras import keras

layers = keras.layers


class Keeper(layers.Layer):
    """A layer that is told by a function what to keep, and by another how to compute with it."""

    def __init__(self, units=8, **kwargs):
        super().__init__(**kwargs)
        self.units = units
        self.keep()

    def get_config(self):
        return {**super().get_config(), "units": self.units}


class PrivateLayer(Keeper):
    def keep(self):
        self._self_attention_layer = layers.Dense(self.units)

    def call(self, inputs):
        return self._self_attention_layer(inputs)


class ListOfLayers(Keeper):
    def keep(self):
        self.blocks = [layers.Dense(self.units), [layers.Dense(self.units), (layers.Dense(self.units),)]]

    def call(self, inputs):
        return self.blocks[1][1][0](self.blocks[1][0](self.blocks[0](inputs)))


class DictOfLayers(Keeper):
    def keep(self):
        self.heads = {"left": layers.Dense(self.units), "right": {"deep": layers.Dense(self.units)}}

    def call(self, inputs):
        return self.heads["left"](inputs) + self.heads["right"]["deep"](inputs)


class SequentialInside(Keeper):
    def keep(self):
        self.ffn = keras.Sequential([layers.Dense(self.units), layers.Dense(self.units)])

    def call(self, inputs):
        return self.ffn(inputs)


class FunctionalInside(Keeper):
    def keep(self):
        inputs = keras.Input((8,))
        self.body = keras.Model(inputs, layers.Dense(self.units)(layers.Dense(4)(inputs)))

    def call(self, inputs):
        return self.body(inputs)


class DenseModel(keras.Model):
    def __init__(self, units):
        super().__init__()
        self._dense = layers.Dense(units)
        self.order = np.random.permutation(units)

    def call(self, inputs):
        return tf.gather(self._dense(inputs), self.order, axis=-1)


class ModelClassInside(Keeper):
    def keep(self):
        self.parts = [DenseModel(self.units)]

    def call(self, inputs):
        return self.parts[0](inputs)


class LayerInTwoPlaces(Keeper):
    def keep(self):
        self.dense = layers.Dense(self.units)
        self.body = keras.Sequential([keras.Input((8,)), self.dense])
        self.again = [self.dense]

    def call(self, inputs):
        return self.body(inputs) + self.again[0](inputs) + self.dense(inputs)


class ListOfVariables(Keeper):
    def build(self, input_shape):
        self.matrices = [self.add_weight(f"matrix_{id(self)}_{i}", (8, 8), initializer="normal") for i in range(2)]

    def keep(self):
        self.shift = {"by": tf.Variable(tf.random.normal((8,)))}

    def call(self, inputs):
        return inputs @ self.matrices[0] @ self.matrices[1] + self.shift["by"]


class Scale(tf.Module):
    def __init__(self):
        super().__init__()
        self.factors = [tf.Variable(tf.random.normal((8,)))]


class ModuleInside(Keeper):
    def keep(self):
        self.scale = Scale()

    def call(self, inputs):
        return inputs * self.scale.factors[0]


class FunctionOverItself(Keeper):
    def keep(self):
        dense = layers.Dense(self.units)
        self.dense = dense
        self.functions = [lambda x: dense(x), self._own, functools.partial(self._own)]

    def _own(self, inputs):
        return self.dense(inputs)

    def call(self, inputs):
        return sum(function(inputs) for function in self.functions)


class GraphFunctionOverItself(Keeper):
    def keep(self):
        self.dense = layers.Dense(self.units)
        self.dense.build((None, 8))
        self.functions = [tf.function(lambda x: self.dense(x)), tf.function(self.dense.call)]

    def call(self, inputs):
        return self.functions[0](inputs) - 2.0 * self.functions[1](inputs)


class FunctionKeeper(Keeper):
    """A layer with three built layers, that computes with functions which read them."""

    def keep(self):
        first, second, third = (layers.Dense(self.units) for _ in range(3))
        for dense in (first, second, third):
            dense.build((None, 8))
        self.dense = [first, second, third]
        self.functions = self.functions_of(first, second, third)

    def call(self, inputs):
        return sum(function(inputs) for function in self.functions)


class FunctionsOfVariables(FunctionKeeper):
    """Variables of inner layers in closures and defaults, in front of and behind the layers that own them."""

    def functions_of(self, first, second, third):
        kernel, bias, matrices = first.kernel, second.bias, {"by name": [third.kernel]}
        return [
            lambda x: x @ kernel + bias,
            lambda x: x @ matrices["by name"][0],
            lambda x, w=second.kernel: x @ w,
        ]


class VariableReadBeforeItsLayer(Keeper):
    def keep(self):
        dense = layers.Dense(self.units)
        dense.build((None, 8))
        kernel = dense.kernel
        self.function = lambda x: x @ kernel
        self.inner = {"deep": [dense]}

    def call(self, inputs):
        return self.function(inputs)


class FunctionsOfContainers(FunctionKeeper):
    def functions_of(self, first, second, third):
        blocks, pair, by_name, some = [first, [second]], (second, third), {"one": {"two": third}}, {first}
        return [
            lambda x: blocks[0](x) + blocks[1][0](x),
            lambda x: sum(block(x) for block in pair),
            lambda x: by_name["one"]["two"](x),
            lambda x: sum(block(x) for block in some),
        ]


class FunctionsWithDefaults(FunctionKeeper):
    def functions_of(self, first, second, third):
        def named(x, *, by=second.kernel, block=third):
            return block(x) @ by

        def attributed(x):
            return x @ attributed.kernel

        attributed.kernel = third.kernel
        return [lambda x, w=first.kernel, blocks=(first, second): blocks[1](x) @ w, named, attributed]


class FunctionsOfFunctions(FunctionKeeper):
    def functions_of(self, first, second, third):
        part = functools.partial(lambda block, x, scale: block(x) * scale, first, scale=second.bias + 1.0)
        bound = functools.partial(lambda block, x, by: block(x) + by, second, by=third.bias)
        traced = tf.function(lambda x: third(x))
        table = {"traced": tf.function(functools.partial(lambda block, x: block(x), first))}
        return [
            part,
            lambda x: bound(x) + traced(x),
            lambda x: table["traced"](x),
            functools.partial(lambda function, x: function(x), lambda x: second(x)),
        ]


class FunctionsOfThemselves(FunctionKeeper):
    def functions_of(self, first, second, third):
        def again(x, depth):
            return x if depth == 0 else again(first(x), depth - 1)

        def even(x, depth):
            return x if depth == 0 else odd(second(x), depth - 1)

        def odd(x, depth):
            return x if depth == 0 else even(third(x), depth - 1)

        return [functools.partial(again, depth=2), functools.partial(even, depth=3)]


class Helper:
    """A small object of the user's that reads a layer, and itself through a method."""

    def __init__(self, block):
        self.block = block
        self.method = self.apply

    def apply(self, inputs):
        return self.block(inputs)

    def __call__(self, inputs):
        return self.method(inputs)


class FunctionsOfObjects(FunctionKeeper):
    def functions_of(self, first, second, third):
        helper, lock, locked = Helper(second), {"lock": threading.Lock(), "block": third}, Helper(second)
        locked.lock = lock["lock"]
        return [
            Helper(first),
            Helper(third).apply,
            lambda x: helper(x),
            lambda x: lock["block"](x),
            locked.method,
            functools.partial(lambda held, x: held["block"](x), lock),
        ]


class DecoratedMethods(FunctionKeeper):
    def functions_of(self, first, second, third):
        return [self.traced, lambda x: self.traced(x), functools.partial(self.traced), self.dense[2].call]

    @tf.function
    def traced(self, inputs):
        return self.dense[0](inputs)


class DrawnNumbers(Keeper):
    def keep(self):
        self._index = np.random.permutation(8)
        self.state = {"sign": [np.random.choice([-1.0, 1.0], 8).astype("float32")]}

    def call(self, inputs):
        return tf.gather(inputs, self._index, axis=-1) * self.state["sign"][0]


class DrawnDense(layers.Dense):
    def __init__(self, units, **kwargs):
        super().__init__(units, **kwargs)
        self.drop = np.random.choice([0.0, 1.0], units).astype("float32")

    def call(self, inputs):
        return super().call(inputs) * self.drop


class DrawnCell(layers.SimpleRNNCell):
    def __init__(self, units, **kwargs):
        super().__init__(units, **kwargs)
        self.factor = float(np.random.normal())

    def call(self, inputs, states, training=None):
        output, new = super().call(inputs, states, training)
        return output * self.factor, new


class OwnLoss(Keeper):
    def keep(self):
        self.dense = layers.Dense(self.units, kernel_regularizer="l2")
        self.add_loss(lambda: tf.reduce_sum(self.dense.kernel))

    def call(self, inputs):
        return self.dense(inputs)


def _around(layer):
    inputs = keras.Input((8,), name="x")
    return keras.Model(inputs, layers.Dense(2, name="head")(layer(inputs)))


def _over_time(layer):
    inputs = keras.Input((5, 8), name="x")
    return keras.Model(inputs, layers.Dense(2, name="head")(layer(inputs)))


class Blocks(keras.Model):
    """A model class with a graph, whose layers it also keeps in a list, a dict and under a private name."""

    def __init__(self):
        inputs = keras.Input((8,), name="x")
        blocks = [layers.Dense(8), layers.Dense(8)]
        super().__init__(inputs, blocks[1](blocks[0](inputs)))
        self.blocks = blocks
        self.by_name = {"first": [blocks[0]]}
        self._last = blocks[1]
        self.sums = [tf.Variable(tf.zeros_like(variable), trainable=False) for variable in self.trainable_variables]
        self._draw = np.random.normal(size=3)
        self.tracker = keras.metrics.Mean(name="tracker")
        self.teacher = DenseModel(2)
        self.teacher(tf.zeros((1, 8)))


class FunctionsOfBlocks(keras.Model):
    """A model class with a graph, whose functions read layers that it keeps behind them."""

    def __init__(self):
        inputs = keras.Input((8,), name="x")
        inner, own = layers.Dense(8), DenseModel(2)
        super().__init__(inputs, layers.Dense(2)(inner(inputs)))
        own(tf.zeros((1, 8)))
        kernel, blocks = own._dense.kernel, [inner, own]
        self.functions = [lambda x: x @ kernel, lambda x: [block(x) for block in blocks][1]]
        self.own = own

    def call(self, inputs, training=None, mask=None):
        return super().call(inputs, training, mask) + sum(function(inputs) for function in self.functions)


def _in_nested(make):
    return lambda: _around(_around(make()))


KEEPERS = {
    cls.__name__: functools.partial(lambda cls: _around(cls(8, name="keeper")), cls)
    for cls in (
        PrivateLayer,
        ListOfLayers,
        DictOfLayers,
        SequentialInside,
        FunctionalInside,
        DenseModel,
        ModelClassInside,
        LayerInTwoPlaces,
        ListOfVariables,
        ModuleInside,
        FunctionOverItself,
        GraphFunctionOverItself,
        FunctionsOfVariables,
        VariableReadBeforeItsLayer,
        FunctionsOfContainers,
        FunctionsWithDefaults,
        FunctionsOfFunctions,
        FunctionsOfThemselves,
        FunctionsOfObjects,
        DecoratedMethods,
        DrawnNumbers,
        DrawnDense,
        OwnLoss,
    )
    if cls is not DenseModel
}
KEEPERS.update(
    {
        "DenseModel": lambda: _around(DenseModel(8)),
        "nested SequentialInside": _in_nested(lambda: SequentialInside(8)),
        "nested DenseModel": _in_nested(lambda: DenseModel(8)),
        "in Sequential": lambda: keras.Sequential([keras.Input((8,)), DenseModel(8), SequentialInside(8)]),
        "over time": lambda: _over_time(layers.TimeDistributed(DrawnDense(4))),
        "both ways": lambda: _over_time(layers.Bidirectional(layers.RNN(DrawnCell(3), return_sequences=True))),
        "mixed precision": lambda: _around(SequentialInside(8, dtype="mixed_float16")),
        "model class": Blocks,
        "nested functions": _in_nested(lambda: FunctionsOfFunctions(8)),
        "functions of a model class": FunctionsOfBlocks,
    }
)
