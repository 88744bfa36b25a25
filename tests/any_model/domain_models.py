"""Small relatives of the networks people bring: segmentation, detection, transformer, recommender, tagger, keyword spotter."""

import tensorflow as tf

from keras_compress._keras import keras

layers = keras.layers


def u_net():
    inputs = keras.Input((16, 16, 3), name="x")
    down = layers.Conv2D(4, 3, padding="same", activation="relu")(inputs)
    bottom = layers.Conv2D(8, 3, padding="same", activation="relu")(layers.MaxPooling2D()(down))
    up = layers.Conv2DTranspose(4, 2, 2, padding="same")(bottom)
    joined = layers.Concatenate()([up, down])
    return keras.Model(inputs, layers.Conv2D(3, 1, activation="softmax")(layers.Conv2D(4, 3, padding="same")(joined)))


def detector():
    inputs = keras.Input((32, 32, 3), name="x")
    x = inputs
    boxes, scores = [], []
    for index, filters in enumerate((8, 12, 16)):
        x = layers.Conv2D(filters, 3, 2, padding="same", use_bias=False)(x)
        x = layers.ReLU(6.0)(layers.BatchNormalization()(x))
        boxes.append(layers.Reshape((-1, 4))(layers.Conv2D(8, 3, padding="same", name=f"boxes{index}")(x)))
        scores.append(layers.Reshape((-1, 3))(layers.Conv2D(6, 3, padding="same", name=f"scores{index}")(x)))
    joined = [layers.Concatenate(axis=1, name="boxes")(boxes), layers.Concatenate(axis=1)(scores)]
    return keras.Model(inputs, [joined[0], layers.Softmax(name="scores")(joined[1])])


def vision_transformer():
    inputs = keras.Input((16, 16, 3), name="x")
    x = layers.Reshape((16, 12))(layers.Conv2D(12, 4, 4, name="patches")(inputs))
    positions = layers.Embedding(16, 12, name="positions")(tf.range(16))
    x = x + positions
    for block in range(2):
        normed = layers.LayerNormalization()(x)
        x = layers.Add()([x, layers.MultiHeadAttention(2, 6, name=f"attention{block}")(normed, normed)])
        hidden = layers.Dense(24, activation="gelu", name=f"expand{block}")(layers.LayerNormalization()(x))
        x = layers.Add()([x, layers.Dense(12, name=f"project{block}")(hidden)])
    return keras.Model(inputs, layers.Dense(5, name="head")(layers.GlobalAveragePooling1D()(x)))


def two_tower_recommender():
    user, item = keras.Input((1,), dtype="int32", name="user"), keras.Input((1,), dtype="int32", name="item")
    towers = []
    for name, ids, size in (("user", user, 20), ("item", item, 30)):
        x = layers.Flatten()(layers.Embedding(size, 6, name=f"{name}_embedding")(ids))
        towers.append(layers.Dense(4, name=f"{name}_dense")(layers.Dense(8, "relu")(x)))
    return keras.Model([user, item], layers.Dot(axes=1)(towers))


def bidirectional_tagger():
    tokens = keras.Input((12,), dtype="int32", name="x")
    x = layers.Embedding(20, 6)(tokens)
    x = layers.Bidirectional(layers.LSTM(5, return_sequences=True), name="encoder")(x)
    return keras.Model(tokens, layers.TimeDistributed(layers.Dense(4, activation="softmax"), name="tags")(x))


def keyword_spotter():
    inputs = keras.Input((24, 10, 1), name="x")
    x = layers.ReLU()(layers.BatchNormalization()(layers.Conv2D(8, (10, 4), 2, padding="same", use_bias=False)(inputs)))
    for _ in range(2):
        x = layers.DepthwiseConv2D(3, padding="same", use_bias=False)(x)
        x = layers.ReLU()(layers.BatchNormalization()(x))
        x = layers.ReLU()(layers.BatchNormalization()(layers.Conv2D(8, 1, use_bias=False)(x)))
    return keras.Model(inputs, layers.Dense(6, activation="softmax")(layers.GlobalAveragePooling2D()(x)))


def autoencoder():
    inputs = keras.Input((16,), name="x")
    code = layers.Dense(4, "relu", name="encode2")(layers.Dense(8, "relu", name="encode1")(inputs))
    return keras.Model(inputs, layers.Dense(16, name="decode2")(layers.Dense(8, "relu", name="decode1")(code)))


DOMAIN_MODELS = {
    function.__name__: function
    for function in (
        u_net,
        detector,
        vision_transformer,
        two_tower_recommender,
        bidirectional_tagger,
        keyword_spotter,
        autoencoder,
    )
}
