"""List the Keras classes that a spec may use. Imports no Keras."""

LAYERS = frozenset(
    """
    Activation ActivityRegularization AdaptiveAveragePooling1D AdaptiveAveragePooling2D AdaptiveMaxPooling1D
    AdaptiveMaxPooling2D AlphaDropout AveragePooling1D AveragePooling2D AveragePooling3D BatchNormalization Conv1D
    Conv1DTranspose Conv2D Conv2DTranspose Conv3D Conv3DTranspose ConvLSTM2D Cropping1D Cropping2D Cropping3D Dense
    DepthwiseConv1D DepthwiseConv2D Dropout ELU EinsumDense Embedding Flatten GRU GaussianDropout GaussianNoise
    GlobalAveragePooling1D GlobalAveragePooling2D GlobalAveragePooling3D GlobalMaxPooling1D GlobalMaxPooling2D
    GlobalMaxPooling3D GroupNormalization Identity LSTM LayerNormalization LeakyReLU MaxPooling1D MaxPooling2D
    MaxPooling3D Normalization PReLU Permute RMSNormalization ReLU RepeatVector Rescaling Reshape SeparableConv1D
    SeparableConv2D SimpleRNN Softmax SpatialDropout1D SpatialDropout2D SpatialDropout3D UnitNormalization UpSampling1D
    UpSampling2D UpSampling3D ZeroPadding1D ZeroPadding2D ZeroPadding3D
    """.split()
)
"""Layers that `network` may use. None of them runs code from a spec or reads a file."""
OWN_LAYERS = frozenset({"Maxout", "Residual", "Whitening"})
"""Layers of Trainyard, which are made of layers of Keras."""
MERGE_LAYERS = frozenset("Add Average Concatenate Dot Maximum Minimum Multiply Subtract".split())
"""Layers with several inputs. Only `network.keras` can connect them."""
WRAPPER_LAYERS = frozenset({"Bidirectional", "TimeDistributed"})
"""Layers with a layer inside, in the `layers` of a spec."""
KERAS_LAYERS = frozenset({"AdditiveAttention", "Attention", "MultiHeadAttention"})
"""Layers with several inputs. Only `network.keras` can describe them."""
PROBABILITY_PRESERVING_LAYERS = frozenset(
    """
    ActivityRegularization AlphaDropout Dropout Flatten GaussianDropout GaussianNoise GlobalAveragePooling1D
    GlobalAveragePooling2D GlobalAveragePooling3D Identity Input InputLayer Permute Reshape SpatialDropout1D
    SpatialDropout2D SpatialDropout3D
    """.split()
)
"""Layers whose outputs are probabilities at inference if their inputs are."""
PART_CLASSES = {
    "initializer": frozenset(
        """
        Constant GlorotNormal GlorotUniform HeNormal HeUniform LecunNormal LecunUniform Ones Orthogonal RandomNormal
        RandomUniform TruncatedNormal VarianceScaling Zeros
        """.split()
    ),
    "regularizer": frozenset({"L1", "L1L2", "L2", "OrthogonalRegularizer"}),
    "constraint": frozenset({"MaxNorm", "MinMaxNorm", "NonNeg", "UnitNorm"}),
}
"""Classes that an argument may name as `{name: L2, l2: 0.001}`, by the last word of the argument's name."""
PACKAGE = "trainyard"
"""The package under which Keras saves activations of Trainyard."""
SAVED_NAMES = {f"{PACKAGE}>heaviside": "heaviside", "heaviside": "heaviside"}
"""The name in a spec for activations of Trainyard that `model.to_json()` prints."""
FIXED_ARGUMENTS = {
    "dtype": "`training.precision` sets the precision of the whole network",
    "data_format": "images are always (height, width, channels)",
    "batch_shape": "the input shape follows from the data and `preprocessing`",
    "batch_size": "the batch size is `training.batch_size`",
}
"""Arguments that Keras accepts and a spec must not contain, with the reason in the words of the error message."""
