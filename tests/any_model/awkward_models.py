"""Graphs that break tools: nested, shared, several inputs and outputs, operators, call arguments, odd shapes, own classes."""

import tensorflow as tf

from keras_compress._keras import keras

layers = keras.layers


def _backbone(name="backbone"):
    inputs = keras.Input((8, 8, 3))
    x = layers.Conv2D(4, 3, padding="same", name="conv1")(inputs)
    return keras.Model(inputs, layers.ReLU()(layers.BatchNormalization()(x)), name=name)


def nested():
    inputs = keras.Input((8, 8, 3), name="x")
    return keras.Model(inputs, layers.Dense(2, name="head")(layers.Flatten()(_backbone()(inputs))))


def nested_twice():
    middle_inputs = keras.Input((8, 8, 3))
    middle = keras.Model(
        middle_inputs, layers.Conv2D(2, 3, name="conv2")(_backbone("inner")(middle_inputs)), name="outer"
    )
    inputs = keras.Input((8, 8, 3), name="x")
    return keras.Model(inputs, layers.Dense(2)(layers.Flatten()(middle(inputs))))


def sequential_in_functional():
    block = keras.Sequential([layers.Conv2D(4, 3, name="conv"), layers.ReLU()], name="block")
    inputs = keras.Input((8, 8, 3), name="x")
    return keras.Model(inputs, layers.GlobalAveragePooling2D()(block(inputs)))


def functional_in_sequential():
    return keras.Sequential([keras.Input((8, 8, 3), name="x"), _backbone(), layers.Flatten(), layers.Dense(2)])


def sequential_without_input():
    model = keras.Sequential([layers.Conv2D(4, 3), layers.Flatten(), layers.Dense(2)])
    model.build((None, 8, 8, 3))
    return model


def shared_layer():
    one, two = keras.Input((5,), name="one"), keras.Input((5,), name="two")
    shared = layers.Dense(4, "relu", name="shared")
    return keras.Model([one, two], layers.Dense(2)(layers.Concatenate()([shared(one), shared(two)])))


def siamese():
    one, two = keras.Input((8, 8, 3), name="one"), keras.Input((8, 8, 3), name="two")
    tower = _backbone("tower")
    return keras.Model([one, two], layers.Dense(2)(layers.Flatten()(tower(one) - tower(two))))


def one_layer_two_shapes():
    inputs = keras.Input((8, 8, 3), name="x")
    shared = layers.Conv2D(3, 3, padding="same", name="shared")
    small = shared(layers.MaxPooling2D()(inputs))
    return keras.Model(inputs, layers.Add()([shared(inputs), layers.UpSampling2D()(small)]))


def dict_inputs():
    inputs = {name: keras.Input((size,), name=name) for name, size in (("b", 3), ("a", 5))}
    return keras.Model(inputs, layers.Add()([layers.Dense(4)(inputs["a"]), layers.Dense(4)(inputs["b"])]))


def dict_outputs():
    inputs = keras.Input((6,), name="x")
    hidden = layers.Dense(5, "relu", name="hidden")(inputs)
    return keras.Model(
        inputs, {"low": layers.Dense(2, name="low")(hidden), "high": layers.Dense(3, name="high")(hidden)}
    )


def list_outputs_in_the_middle():
    inputs = keras.Input((8, 8, 3), name="x")
    hidden = layers.Conv2D(4, 3, activation="relu", name="hidden")(inputs)
    return keras.Model(inputs, [hidden, layers.GlobalAveragePooling2D()(layers.Conv2D(2, 3, name="last")(hidden))])


def states_of_an_lstm():
    inputs = keras.Input((6, 4), name="x")
    sequence, hidden, cell = layers.LSTM(5, return_sequences=True, return_state=True, name="encoder")(inputs)
    decoded = layers.LSTM(5, name="decoder")(sequence, initial_state=[hidden, cell])
    return keras.Model(inputs, layers.Dense(2)(decoded))


def stacked_cells():
    inputs = keras.Input((6, 4), name="x")
    cells = [layers.LSTMCell(5), layers.GRUCell(3)]
    return keras.Model(inputs, layers.RNN(cells, name="stack")(inputs))


def explicit_mask():
    inputs, mask = keras.Input((6, 4), name="x"), keras.Input((6,), dtype="bool", name="mask")
    return keras.Model([inputs, mask], layers.GRU(5)(inputs, mask=mask))


def masked_embedding():
    tokens = keras.Input((6,), dtype="int32", name="x")
    x = layers.Embedding(9, 4, mask_zero=True)(tokens)
    return keras.Model(tokens, layers.Bidirectional(layers.LSTM(3, return_sequences=True))(x))


def tensors_in_keywords_and_lists():
    inputs = keras.Input((4, 4, 3), name="x")
    left, right = layers.Conv2D(2, 1, name="left")(inputs), layers.Conv2D(2, 1, name="right")(inputs)
    joined = tf.concat(values=[left, right, tf.nn.relu(left)], axis=-1)
    total = tf.add(joined, y=tf.reverse(joined, axis=[1]))
    return keras.Model(inputs, tf.image.resize(layers.Conv2D(3, 1, name="last")(total), (6, 6)))


def open_shapes():
    inputs = keras.Input((None, None, 3), name="x")
    x = layers.Conv2D(4, 3, padding="same", activation="relu")(inputs)
    return keras.Model(inputs, layers.GlobalAveragePooling2D()(layers.Conv2D(2, 3, padding="same")(x)))


def input_is_output():
    inputs = keras.Input((6,), name="x")
    return keras.Model(inputs, [inputs, layers.Dense(2)(inputs)])


def same_tensor_twice():
    inputs = keras.Input((8, 8, 3), name="x")
    x = layers.Conv2D(3, 3, name="conv")(inputs)
    return keras.Model(inputs, layers.Conv2D(2, 1)(layers.Add()([x, x])))


def dense_block():
    inputs = keras.Input((8, 8, 3), name="x")
    x = inputs
    for index in range(3):
        x = layers.Concatenate()([x, layers.Conv2D(2, 3, padding="same", activation="relu", name=f"conv{index}")(x)])
    return keras.Model(inputs, layers.Conv2D(2, 1)(x))


def pre_activation():
    inputs = keras.Input((8, 8, 4), name="x")
    x = layers.Conv2D(4, 3, padding="same")(layers.ReLU()(layers.BatchNormalization()(inputs)))
    return keras.Model(
        inputs, layers.Conv2D(2, 1)(layers.ReLU()(layers.BatchNormalization()(layers.Add()([x, inputs]))))
    )


def squeeze_and_excite():
    inputs = keras.Input((8, 8, 4), name="x")
    x = layers.Conv2D(6, 3, padding="same")(inputs)
    gate = layers.GlobalAveragePooling2D(keepdims=True)(x)
    gate = layers.Conv2D(6, 1, activation="sigmoid")(layers.Conv2D(2, 1, activation="relu")(gate))
    return keras.Model(inputs, layers.Conv2D(2, 1)(layers.Multiply()([x, gate])))


def hard_swish_by_operators():
    inputs = keras.Input((8, 8, 3), name="x")
    x = layers.Conv2D(4, 3, name="conv")(inputs)
    return keras.Model(inputs, layers.Conv2D(2, 1, name="last")(x * tf.nn.relu6(x + 3.0) / 6.0))


class OwnTrainStep(keras.Model):
    """A model class with a graph, an argument of its own and its own train_step."""

    def __init__(self, inputs, outputs, factor):
        super().__init__(inputs, outputs)
        self.factor = factor
        self.tracker = keras.metrics.Mean(name="tracker")

    def train_step(self, data):
        logs = super().train_step(data)
        self.tracker.update_state(self.factor)
        return {**logs, "factor": self.tracker.result()}


def own_train_step():
    inputs = keras.Input((6,), name="x")
    return OwnTrainStep(inputs, layers.Dense(2)(layers.Dense(4, "relu")(inputs)), factor=3.0)


class WithoutConfig(layers.Layer):
    """A layer that cannot tell its configuration."""

    def __init__(self, units):
        super().__init__()
        self._units = units

    def build(self, input_shape):
        self.matrix = self.add_weight("matrix", (input_shape[-1], self._units))

    def call(self, inputs):
        return tf.matmul(inputs, self.matrix)


def layer_without_config():
    inputs = keras.Input((6,), name="x")
    return keras.Model(inputs, layers.Dense(2, name="dense")(WithoutConfig(4)(inputs)))


def lambda_activation():
    inputs = keras.Input((6,), name="x")
    return keras.Model(inputs, layers.Dense(2)(layers.Dense(4, activation=lambda x: tf.nn.relu(x) * 2.0)(inputs)))


def frozen_layers():
    model = nested()
    model.get_layer("backbone").trainable = False
    return model


AWKWARD_MODELS = {
    function.__name__: function
    for function in (
        nested,
        nested_twice,
        sequential_in_functional,
        functional_in_sequential,
        sequential_without_input,
        shared_layer,
        siamese,
        one_layer_two_shapes,
        dict_inputs,
        dict_outputs,
        list_outputs_in_the_middle,
        states_of_an_lstm,
        stacked_cells,
        explicit_mask,
        masked_embedding,
        tensors_in_keywords_and_lists,
        open_shapes,
        input_is_output,
        same_tensor_twice,
        dense_block,
        pre_activation,
        squeeze_and_excite,
        hard_swish_by_operators,
        own_train_step,
        layer_without_config,
        lambda_activation,
        frozen_layers,
    )
}
