"""What the accuracy benchmarks share: the trained float model they start from, and how every variant is trained."""

import tf_keras as keras
from cifar10 import training_pipeline
from resnet8 import build_resnet8

import keras_compress as kc

BATCH = 128


def trained_float_model(cache, images, labels, epochs, width=1):
    """Return ResNet-8 from ``cache``, or train it on the images for ``epochs`` and put it there."""
    return trained(cache, lambda: build_resnet8(width=width), lambda: training_pipeline(images, labels, BATCH), epochs)


def trained(cache, build, batches, epochs, learning_rate=3e-3):
    """Return a model from ``cache``, or ``build()`` it, train it for ``epochs`` on ``batches()`` and put it there."""
    if cache.exists():
        return keras.models.load_model(cache, compile=False)
    keras.utils.set_random_seed(1)
    model, data = build(), batches()
    compile_for(model, epochs * len(data), learning_rate)
    model.fit(data, epochs=epochs, verbose=2)
    cache.parent.mkdir(parents=True, exist_ok=True)
    model.save(cache)
    return model


def compile_for(model, steps, learning_rate=1e-3):
    """Compile a model for ``steps`` steps of Adam whose learning rate falls to zero as a cosine."""
    schedule = keras.optimizers.schedules.CosineDecay(learning_rate, steps)
    model.compile(keras.optimizers.Adam(schedule), "sparse_categorical_crossentropy", ["accuracy"])


def variant(model, algorithms, data):
    """Return a copy of the float model, compressed unless ``algorithms`` is None, and its controller."""
    if algorithms is None:
        copy = keras.models.clone_model(model)
        copy.set_weights(model.get_weights())
        return copy, None
    config = kc.register_default_init_args({"compression": algorithms}, data)
    controller, compressed = kc.create_compressed_model(model, config)
    return compressed, controller
