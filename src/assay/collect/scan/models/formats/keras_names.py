"""Names that Keras's own classes have in configurations, and where in Keras they may come from.

Data for `keras`: a class that is not named here must come from somewhere else, and from where is the question.
Source: the public API of Keras 2.15 and 3.12.
"""

from __future__ import annotations

CLASSES = frozenset(
    {
        "AUC", "AbsMaxQuantizer", "Accuracy", "Activation", "ActivityRegularization", "Adadelta", "Adafactor",
        "Adagrad", "Adam", "AdamW", "Adamax", "AdaptiveAveragePooling1D", "AdaptiveAveragePooling2D",
        "AdaptiveAveragePooling3D", "AdaptiveMaxPooling1D", "AdaptiveMaxPooling2D", "AdaptiveMaxPooling3D",
        "Add", "AddLoss", "AddMetric", "AdditiveAttention", "AlphaDropout", "Attention", "AugMix",
        "AutoContrast", "Average", "AveragePooling1D", "AveragePooling2D", "AveragePooling3D",
        "BatchNormalization", "BatchNormalizationV1", "BatchNormalizationV2", "Bidirectional", "BinaryAccuracy",
        "BinaryCrossentropy", "BinaryFocalCrossentropy", "BinaryIoU", "CTC", "CategoricalAccuracy",
        "CategoricalCrossentropy", "CategoricalFocalCrossentropy", "CategoricalGeneralizedCrossEntropy",
        "CategoricalHinge", "CategoryEncoding", "CenterCrop", "Circle", "ClassMethod", "CompileMetrics",
        "CompositeTensor", "Concatenate", "ConcordanceCorrelation", "Constant", "Conv1D", "Conv1DTranspose",
        "Conv2D", "Conv2DTranspose", "Conv3D", "Conv3DTranspose", "ConvLSTM1D", "ConvLSTM2D", "ConvLSTM3D",
        "Convolution1D", "Convolution2D", "Convolution3D", "CosineDecay", "CosineDecayRestarts",
        "CosineSimilarity", "Cropping1D", "Cropping2D", "Cropping3D", "CuDNNGRU", "CuDNNLSTM", "CutMix",
        "DTypePolicy", "DTypePolicyMap", "Dense", "DepthwiseConv1D", "DepthwiseConv2D", "Dice",
        "Discretization", "Dot", "Dropout", "DynamicLossScale", "ELU", "EinsumDense", "Embedding",
        "Equalization", "ExponentialDecay", "F1Score", "FBetaScore", "FalseNegatives", "FalsePositives",
        "FeatureSpace", "Flatten", "FloatDTypePolicy", "Ftrl", "Functional", "GPTQDTypePolicy", "GRU",
        "GRUCell", "GaussianDropout", "GaussianNoise", "GetItem", "GlobalAveragePooling1D",
        "GlobalAveragePooling2D", "GlobalAveragePooling3D", "GlobalMaxPooling1D", "GlobalMaxPooling2D",
        "GlobalMaxPooling3D", "GlorotNormal", "GlorotUniform", "GroupNormalization", "GroupQueryAttention",
        "GroupedQueryAttention", "HashedCrossing", "Hashing", "HeNormal", "HeUniform", "Hinge", "Huber",
        "Identity", "IdentityInitializer", "InputLayer", "InstanceMethod", "InstanceProperty",
        "Int4QuantizationConfig", "Int8QuantizationConfig", "IntegerLookup", "InverseTimeDecay", "IoU",
        "KLDivergence", "KerasTensor", "L1", "L1L2", "L2", "LSTM", "LSTMCell", "Lamb", "Lambda", "Layer",
        "LayerNormalization", "LeakyReLU", "LecunNormal", "LecunUniform", "Lion", "LocallyConnected1D",
        "LocallyConnected2D", "LogCosh", "LogCoshError", "LossFunctionWrapper", "LossScaleOptimizer",
        "LossScaleOptimizerV1", "LossScaleOptimizerV3", "Masking", "MaxNorm", "MaxNumBoundingBoxes",
        "MaxPooling1D", "MaxPooling2D", "MaxPooling3D", "Maximum", "Mean", "MeanAbsoluteError",
        "MeanAbsolutePercentageError", "MeanIoU", "MeanMetricWrapper", "MeanSquaredError",
        "MeanSquaredLogarithmicError", "MelSpectrogram", "MinMaxNorm", "Minimum", "MixUp", "Model",
        "MultiHeadAttention", "Multiply", "Muon", "Nadam", "NonNeg", "Normalization", "NotEqual", "OneHotIoU",
        "OneHotMeanIoU", "Ones", "Orthogonal", "OrthogonalInitializer", "OrthogonalRegularizer", "PReLU",
        "PearsonCorrelation", "Permute", "PiecewiseConstantDecay", "Pipeline", "Poisson", "Policy", "PolicyV1",
        "PolynomialDecay", "Precision", "PrecisionAtRecall", "QuantizedDTypePolicy",
        "QuantizedFloat8DTypePolicy", "Quantizer", "R2Score", "RMSNormalization", "RMSprop", "RNN",
        "RadialConstraint", "RaggedTensorSpec", "RandAugment", "RandomApply", "RandomBrightness",
        "RandomColorDegeneration", "RandomColorJitter", "RandomContrast", "RandomCrop",
        "RandomElasticTransform", "RandomErasing", "RandomFlip", "RandomGaussianBlur", "RandomGrayscale",
        "RandomHeight", "RandomHue", "RandomInvert", "RandomNormal", "RandomPerspective", "RandomPosterization",
        "RandomRotation", "RandomSaturation", "RandomSharpness", "RandomShear", "RandomTranslation",
        "RandomUniform", "RandomWidth", "RandomZoom", "ReLU", "Recall", "RecallAtPrecision", "RepeatVector",
        "Rescaling", "Reshape", "Resizing", "RootMeanSquaredError", "SGD", "STFT", "STFTSpectrogram",
        "SeedGenerator", "SensitivityAtSpecificity", "SeparableConv1D", "SeparableConv2D", "Sequential",
        "SimpleRNN", "SimpleRNNCell", "SlicingOpLambda", "Softmax", "Solarization", "SparseCategoricalAccuracy",
        "SparseCategoricalCrossentropy", "SparseTopKCategoricalAccuracy", "SpatialDropout1D",
        "SpatialDropout2D", "SpatialDropout3D", "SpecificityAtSensitivity", "SpectralNormalization",
        "SquaredHinge", "StackedRNNCells", "StringLookup", "Subtract", "Sum", "SyncBatchNormalization",
        "TFOpLambda", "TensorFlowOpLayer", "TensorShape", "TextVectorization", "ThresholdedReLU",
        "TimeDistributed", "TopKCategoricalAccuracy", "TrueNegatives", "TruePositives", "TruncatedNormal",
        "Tversky", "TypeSpec", "UnitNorm", "UnitNormalization", "UpSampling1D", "UpSampling2D", "UpSampling3D",
        "VarianceScaling", "Wrapper", "ZeroPadding1D", "ZeroPadding2D", "ZeroPadding3D", "Zeros",
    }
)  # fmt: skip
"""Classes of Keras that a configuration names without saying where they are from (Keras 2)."""

MARKS = frozenset(
    {
        "__bytes__", "__dict__", "__ellipsis__", "__keras_tensor__", "__numpy__", "__set__", "__slice__",
        "__tensor__", "__tf_tensorspec__", "__tuple__", "__typespec__", "dtype", "slice",
    }
)  # fmt: skip
"""What Keras 3 writes for values that JSON has not."""

BUILDERS = (
    "layers", "initializers", "regularizers", "constraints", "activations", "optimizers", "losses", "metrics", "ops",
    "dtype_policies", "quantizers", "random", "mixed_precision", "engine", "legacy", "callbacks", "backend",
)  # fmt: skip
"""Parts of Keras whose classes build layers and numbers, and nothing else."""

GADGETS = frozenset(
    {
        "FlaxLayer", "JaxLayer", "Popen", "TFSMLayer", "TorchModuleWrapper", "__import__",
        "audio_dataset_from_directory", "compile", "deserialize_keras_object", "download_file",
        "enable_unsafe_deserialization", "eval", "exec", "extract_archive", "get_file", "getattr",
        "image_dataset_from_directory", "load_img", "load_model", "load_weights", "model_from_config",
        "model_from_json", "model_from_yaml", "open", "plot_model", "popen", "run_path", "save_img",
        "save_model", "save_weights", "setattr", "system", "text_dataset_from_directory",
        "timeseries_dataset_from_array", "urlretrieve",
    }
)  # fmt: skip
"""Functions and classes inside Keras and beneath it that read, write or run what their arguments name."""

WRAPPERS = frozenset({"TorchModuleWrapper", "TFSMLayer", "JaxLayer", "FlaxLayer"})
"""Of these, honest layers that carry another framework's code."""
