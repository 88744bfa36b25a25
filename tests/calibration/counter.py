"""A layer with a memory."""

from keras_compress._keras import keras

layers = keras.layers


@keras.saving.register_keras_serializable("model_states")
class Counter(layers.Layer):
    """Counts its calls, and adds their number."""

    def build(self, input_shape):
        self.count = self.add_weight("count", (), trainable=False, initializer="zeros")
        self.stateful = True

    def call(self, inputs):
        self.count.assign_add(1.0)
        return inputs + self.count

    def reset_states(self):
        self.count.assign(0.0)
