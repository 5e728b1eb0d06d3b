"""Names that Keras's own classes have in configurations, and where in Keras they may come from.

Data for `keras`: a class that is not named here must come from somewhere else, and from where is the question. The
classes themselves are a list of their own (`assay.collect.scan.models.rules.operations`).
"""

from __future__ import annotations

from functools import cache

from assay.collect.scan.models.rules.operations import listed

OLDER = frozenset(
    {
        "AddLoss", "AddMetric", "BatchNormalizationV1", "BatchNormalizationV2", "CompositeTensor", "Convolution1D",
        "Convolution2D", "Convolution3D", "DynamicLossScale", "GroupQueryAttention", "IdentityInitializer",
        "KerasTensor", "LossScaleOptimizerV1", "OrthogonalInitializer", "PolicyV1", "RaggedTensorSpec", "RandomApply",
        "TensorShape", "TypeSpec",
    }
)  # fmt: skip
"""Names that configurations have from older versions, or from TensorFlow."""


@cache
def classes() -> frozenset[str]:
    """Classes of Keras that a configuration names without saying where they are from (Keras 2)."""
    return listed("keras").domains[""] | OLDER


MARKS = frozenset(
    {
        "__bytes__", "__dict__", "__ellipsis__", "__keras_tensor__", "__numpy__", "__set__", "__slice__",
        "__tensor__", "__tf_tensorspec__", "__tuple__", "__typespec__", "dtype", "slice",
    }
)  # fmt: skip
"""What Keras 3 writes for values that JSON has not."""

BUILDERS = (
    "layers", "initializers", "regularizers", "constraints", "activations", "optimizers", "losses", "metrics", "ops",
    "dtype_policies", "quantizers", "random", "mixed_precision",
)  # fmt: skip
"""Parts of Keras whose classes build layers and numbers, and nothing else."""

GADGETS = frozenset(
    {
        "FlaxLayer", "JaxLayer", "Popen", "TFSMLayer", "TorchModuleWrapper", "__import__",
        "audio_dataset_from_directory", "breakpoint", "compile", "delattr", "deserialize_keras_object", "download_file",
        "enable_unsafe_deserialization", "eval", "exec", "extract_archive", "func_load", "get_file", "getattr",
        "globals", "input", "load_model_from_hdf5", "load_weights_from_hdf5_group", "locals", "marshal_loads", "vars",
        "image_dataset_from_directory", "load_img", "load_model", "load_weights", "model_from_config",
        "model_from_json", "model_from_yaml", "open", "plot_model", "popen", "run_path", "save_img",
        "save_model", "save_weights", "setattr", "system", "text_dataset_from_directory",
        "timeseries_dataset_from_array", "urlretrieve",
    }
)  # fmt: skip
"""Functions and classes inside Keras and beneath it that read, write or run what their arguments name."""

WRAPPERS = frozenset({"TorchModuleWrapper", "TFSMLayer", "JaxLayer", "FlaxLayer"})
"""Of these, honest layers that carry another framework's code."""
