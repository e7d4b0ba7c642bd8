"""Define a small network and an input shape for each allowed layer and each activation.

Run as a program, it computes the layer tables of all networks by the Keras backend of the environment and prints
them as JSON.
"""

import json
import sys
from typing import Any

IMAGE, SEQUENCE, VOLUME, ROW = (12, 12, 6), (10, 6), (6, 6, 6, 2), (8,)
CONVOLUTION = {"layer": "Conv2D", "filters": 6, "kernel_size": 3, "padding": "same"}
STACKS: list[tuple[tuple[int, ...], dict[str, Any]]] = [
    (ROW, {"layer": "Dense", "units": 5, "activation": "gelu", "kernel_initializer": {"name": "HeNormal", "seed": 1}}),
    (IMAGE, {"layer": "Dense", "units": 5, "kernel_regularizer": {"name": "L2", "l2": 0.01}}),
    (IMAGE, {"layer": "EinsumDense", "equation": "abcd,de->abce", "output_shape": [12, 12, 3]}),
    (ROW, {"layer": "Embedding", "input_dim": 50, "output_dim": 4}),
    (
        IMAGE,
        {"layer": "Conv2D", "filters": 4, "kernel_size": 3, "kernel_constraint": {"name": "MaxNorm", "max_value": 2}},
    ),
    (IMAGE, {"layer": "Conv2D", "filters": 6, "kernel_size": 3, "groups": 3, "strides": 2, "padding": "same"}),
    (IMAGE, {"layer": "Conv2D", "filters": 4, "kernel_size": [3, 2], "dilation_rate": 2}),
    (SEQUENCE, {"layer": "Conv1D", "filters": 4, "kernel_size": 3, "padding": "causal"}),
    (VOLUME, {"layer": "Conv3D", "filters": 3, "kernel_size": 2}),
    (IMAGE, {"layer": "Conv2DTranspose", "filters": 4, "kernel_size": 3, "strides": 2}),
    (SEQUENCE, {"layer": "Conv1DTranspose", "filters": 4, "kernel_size": 3, "strides": 2}),
    (VOLUME, {"layer": "Conv3DTranspose", "filters": 3, "kernel_size": 2}),
    (IMAGE, {"layer": "DepthwiseConv2D", "kernel_size": 3, "depth_multiplier": 2}),
    (SEQUENCE, {"layer": "DepthwiseConv1D", "kernel_size": 3}),
    (IMAGE, {"layer": "SeparableConv2D", "filters": 5, "kernel_size": 3}),
    (SEQUENCE, {"layer": "SeparableConv1D", "filters": 5, "kernel_size": 3}),
    *(
        (IMAGE, {"layer": f"{kind}Pooling2D", "pool_size": 3, "strides": 2, "padding": "same"})
        for kind in ("Max", "Average")
    ),
    *((SEQUENCE, {"layer": f"{kind}Pooling1D", "pool_size": 2}) for kind in ("Max", "Average")),
    *((VOLUME, {"layer": f"{kind}Pooling3D", "pool_size": 2}) for kind in ("Max", "Average")),
    *((IMAGE, {"layer": f"Adaptive{kind}Pooling2D", "output_size": 4}) for kind in ("Max", "Average")),
    *((SEQUENCE, {"layer": f"Adaptive{kind}Pooling1D", "output_size": 5}) for kind in ("Max", "Average")),
    *((IMAGE, {"layer": f"Global{kind}Pooling2D"}) for kind in ("Max", "Average")),
    *((SEQUENCE, {"layer": f"Global{kind}Pooling1D"}) for kind in ("Max", "Average")),
    *((VOLUME, {"layer": f"Global{kind}Pooling3D"}) for kind in ("Max", "Average")),
    (IMAGE, {"layer": "Flatten"}),
    (IMAGE, {"layer": "Reshape", "target_shape": [36, 24]}),
    (IMAGE, {"layer": "Permute", "dims": [3, 1, 2]}),
    (ROW, {"layer": "RepeatVector", "n": 3}),
    *(
        (shape, {"layer": f"ZeroPadding{rank}D", "padding": 1})
        for rank, shape in ((1, SEQUENCE), (2, IMAGE), (3, VOLUME))
    ),
    *(
        (shape, {"layer": f"Cropping{rank}D", "cropping": 1})
        for rank, shape in ((1, SEQUENCE), (2, IMAGE), (3, VOLUME))
    ),
    *((shape, {"layer": f"UpSampling{rank}D", "size": 2}) for rank, shape in ((1, SEQUENCE), (2, IMAGE), (3, VOLUME))),
    (IMAGE, {"layer": "UpSampling2D", "size": 2, "interpolation": "bilinear"}),
    (IMAGE, {"layer": "BatchNormalization"}),
    (IMAGE, {"layer": "LayerNormalization"}),
    (IMAGE, {"layer": "Normalization"}),
    (IMAGE, {"layer": "GroupNormalization", "groups": 3}),
    (IMAGE, {"layer": "RMSNormalization"}),
    (ROW, {"layer": "UnitNormalization"}),
    *(
        (shape, {"layer": f"SpatialDropout{rank}D", "rate": 0.3})
        for rank, shape in ((1, SEQUENCE), (2, IMAGE), (3, VOLUME))
    ),
    *((IMAGE, {"layer": name, "rate": 0.3}) for name in ("Dropout", "GaussianDropout", "AlphaDropout")),
    (IMAGE, {"layer": "GaussianNoise", "stddev": 0.3}),
    (IMAGE, {"layer": "ActivityRegularization", "l1": 0.1}),
    (IMAGE, {"layer": "ReLU", "max_value": 6, "negative_slope": 0.1}),
    *((IMAGE, {"layer": name}) for name in ("LeakyReLU", "ELU", "Identity")),
    (IMAGE, {"layer": "PReLU", "shared_axes": [1, 2]}),
    (ROW, {"layer": "Softmax"}),
    (IMAGE, {"layer": "Rescaling", "scale": 2, "offset": 0.1}),
    *((SEQUENCE, {"layer": name, "units": 5}) for name in ("LSTM", "GRU", "SimpleRNN")),
    (SEQUENCE, {"layer": "LSTM", "units": 5, "return_sequences": True}),
    ((4, 8, 8, 2), {"layer": "ConvLSTM2D", "filters": 3, "kernel_size": 3}),
    *(
        (ROW, {"layer": "Activation", "activation": name})
        for name in (
            "celu elu exponential gelu hard_shrink hard_sigmoid hard_silu hard_tanh leaky_relu linear log_sigmoid "
            "log_softmax mish relu relu6 selu sigmoid silu soft_shrink softmax softplus softsign sparse_plus "
            "sparse_sigmoid sparsemax squareplus swish tanh tanh_shrink heaviside"
        ).split()
    ),
    (ROW, {"layer": "Maxout", "units": 5, "name": "hidden"}),
    (IMAGE, {"layer": "Maxout", "units": 5, "pieces": 4, "kernel_initializer": {"name": "HeNormal", "seed": 1}}),
    (IMAGE, {"layer": "Whitening", "kernel_size": [2, 3], "strides": 2, "padding": "same", "name": "patches"}),
    (IMAGE, {"layer": "Whitening", "filters": 8}),
    (ROW, {"layer": "Residual", "layers": [{"layer": "Dense", "units": 8}, {"layer": "ReLU"}]}),
    (ROW, {"layer": "Residual", "layers": [{"layer": "Dense", "units": 5}]}),
    (IMAGE, {"layer": "Residual", "layers": [CONVOLUTION, {"layer": "BatchNormalization"}, CONVOLUTION]}),
    (IMAGE, {"layer": "Residual", "layers": [{**CONVOLUTION, "strides": 2}, {**CONVOLUTION, "filters": 9}]}),
    (
        IMAGE,
        {
            "layer": "Residual",
            "layers": [
                {"layer": "Residual", "layers": [CONVOLUTION]},
                {"layer": "MaxPooling2D", "padding": "same"},
                {"layer": "Residual", "layers": [{**CONVOLUTION, "filters": 9}]},
            ],
        },
    ),
]


def main() -> None:
    from shared.networks.builder import compute_layer_table
    from shared.spec.network import NetworkSpec

    tables = [
        compute_layer_table(NetworkSpec.model_validate({"layers": [layer]}), shape, 10**9) for shape, layer in STACKS
    ]
    print(
        json.dumps(
            {
                "tables": [[row.model_dump() for row in rows] for rows in tables],
                "tensorflow": "tensorflow" in sys.modules,
            }
        )
    )


if __name__ == "__main__":
    main()
