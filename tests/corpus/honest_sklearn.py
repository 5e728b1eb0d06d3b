"""Honest models of scikit-learn, fitted on small data: pickles of every protocol, joblib files of every kind."""

from __future__ import annotations

import io
import pickle
import warnings
from collections.abc import Iterator
from typing import Any

from corpus.sample import Draft, honest

COMPRESSIONS: tuple[Any, ...] = (0, 3, ("zlib", 9), ("gzip", 3), ("bz2", 3), ("xz", 3), ("lzma", 3))


def estimators() -> Iterator[Any]:
    """Unfitted, with few iterations: what matters is what they are made of."""
    from sklearn import (
        calibration,
        cluster,
        compose,
        covariance,
        cross_decomposition,
        decomposition,
        discriminant_analysis,
        dummy,
        ensemble,
        feature_extraction,
        feature_selection,
        gaussian_process,
        impute,
        isotonic,
        kernel_approximation,
        kernel_ridge,
        linear_model,
        manifold,
        mixture,
        model_selection,
        multiclass,
        naive_bayes,
        neighbors,
        neural_network,
        pipeline,
        preprocessing,
        random_projection,
        semi_supervised,
        svm,
        tree,
    )

    yield from (
        linear_model.LinearRegression(),
        linear_model.LogisticRegression(),
        linear_model.Ridge(),
        linear_model.Lasso(0.1),
        linear_model.ElasticNet(0.1),
        linear_model.SGDClassifier(random_state=0),
        linear_model.SGDRegressor(random_state=0),
        linear_model.Perceptron(random_state=0),
        linear_model.BayesianRidge(),
        linear_model.HuberRegressor(),
        linear_model.PoissonRegressor(),
        linear_model.RidgeClassifier(),
        linear_model.Lars(),
        linear_model.RANSACRegressor(random_state=0),
        tree.DecisionTreeClassifier(random_state=0),
        tree.DecisionTreeRegressor(random_state=0),
        tree.ExtraTreeClassifier(random_state=0),
        ensemble.RandomForestClassifier(4, random_state=0),
        ensemble.RandomForestRegressor(4, random_state=0),
        ensemble.ExtraTreesClassifier(4, random_state=0),
        ensemble.GradientBoostingClassifier(n_estimators=3, random_state=0),
        ensemble.GradientBoostingRegressor(n_estimators=3, random_state=0),
        ensemble.HistGradientBoostingClassifier(max_iter=3, random_state=0),
        ensemble.HistGradientBoostingRegressor(max_iter=3, random_state=0),
        ensemble.AdaBoostClassifier(n_estimators=3, random_state=0),
        ensemble.BaggingClassifier(n_estimators=3, random_state=0),
        ensemble.IsolationForest(n_estimators=4, random_state=0),
        ensemble.VotingClassifier([("a", naive_bayes.GaussianNB()), ("b", tree.DecisionTreeClassifier(max_depth=2))]),
        ensemble.StackingClassifier([("a", naive_bayes.GaussianNB())], linear_model.LogisticRegression(), cv=2),
        svm.SVC(probability=False),
        svm.LinearSVC(),
        svm.SVR(),
        svm.NuSVC(nu=0.2),
        svm.OneClassSVM(),
        neighbors.KNeighborsClassifier(),
        neighbors.KNeighborsRegressor(algorithm="ball_tree"),
        neighbors.NearestCentroid(),
        neighbors.KernelDensity(),
        neighbors.LocalOutlierFactor(novelty=True),
        naive_bayes.GaussianNB(),
        naive_bayes.MultinomialNB(),
        naive_bayes.BernoulliNB(),
        neural_network.MLPClassifier(hidden_layer_sizes=(4,), max_iter=5, random_state=0),
        neural_network.MLPRegressor(hidden_layer_sizes=(4,), max_iter=5, random_state=0),
        neural_network.BernoulliRBM(2, n_iter=2, random_state=0),
        cluster.KMeans(2, n_init=1, random_state=0),
        cluster.MiniBatchKMeans(2, n_init=1, random_state=0),
        cluster.DBSCAN(),
        cluster.AgglomerativeClustering(2),
        cluster.Birch(),
        cluster.HDBSCAN(copy=True),
        decomposition.PCA(2),
        decomposition.TruncatedSVD(2),
        decomposition.NMF(2, max_iter=20),
        decomposition.FastICA(2, random_state=0),
        decomposition.LatentDirichletAllocation(2, max_iter=2),
        discriminant_analysis.LinearDiscriminantAnalysis(),
        discriminant_analysis.QuadraticDiscriminantAnalysis(),
        covariance.EllipticEnvelope(random_state=0),
        cross_decomposition.PLSRegression(2),
        dummy.DummyClassifier(),
        feature_selection.SelectKBest(k=2),
        feature_selection.RFE(linear_model.LinearRegression()),
        feature_selection.VarianceThreshold(),
        gaussian_process.GaussianProcessRegressor(random_state=0),
        gaussian_process.GaussianProcessClassifier(random_state=0),
        impute.SimpleImputer(),
        impute.KNNImputer(),
        kernel_approximation.Nystroem(n_components=3, random_state=0),
        kernel_approximation.RBFSampler(random_state=0),
        kernel_ridge.KernelRidge(),
        manifold.Isomap(n_neighbors=8),
        mixture.GaussianMixture(2, random_state=0),
        model_selection.GridSearchCV(tree.DecisionTreeClassifier(), {"max_depth": [1, 2]}, cv=2),
        model_selection.RandomizedSearchCV(svm.SVC(), {"C": [1, 2, 3]}, n_iter=2, cv=2, random_state=0),
        multiclass.OneVsRestClassifier(linear_model.LogisticRegression()),
        calibration.CalibratedClassifierCV(naive_bayes.GaussianNB(), cv=2),
        random_projection.GaussianRandomProjection(2, random_state=0),
        semi_supervised.LabelPropagation(),
        preprocessing.StandardScaler(),
        preprocessing.MinMaxScaler(),
        preprocessing.RobustScaler(),
        preprocessing.QuantileTransformer(n_quantiles=10),
        preprocessing.PowerTransformer(),
        preprocessing.OneHotEncoder(handle_unknown="ignore"),
        preprocessing.OrdinalEncoder(),
        preprocessing.KBinsDiscretizer(3, quantile_method="averaged_inverted_cdf"),
        preprocessing.PolynomialFeatures(),
        preprocessing.SplineTransformer(),
        preprocessing.Normalizer(),
        pipeline.make_pipeline(preprocessing.StandardScaler(), decomposition.PCA(2), svm.SVC()),
        pipeline.make_union(decomposition.PCA(1), feature_selection.SelectKBest(k=1)),
        compose.ColumnTransformer(
            [("s", preprocessing.StandardScaler(), [0, 1]), ("m", preprocessing.MinMaxScaler(), slice(2, 4))]
        ),
        compose.TransformedTargetRegressor(linear_model.Ridge(), transformer=preprocessing.StandardScaler()),
        isotonic.IsotonicRegression(),
        feature_extraction.text.CountVectorizer(),
        feature_extraction.text.TfidfVectorizer(),
        feature_extraction.DictVectorizer(),
        preprocessing.LabelEncoder(),
        preprocessing.LabelBinarizer(),
    )


def drafts() -> Iterator[Draft]:
    """Each estimator once; protocol and compression go round."""
    import joblib
    from sklearn.datasets import load_iris

    x, y = load_iris(return_X_y=True)
    x, y = x[::3], y[::3]
    texts = ["a model of words", "another model", "words of another kind", "kind words"]
    for i, estimator in enumerate(estimators()):
        kind = type(estimator).__name__
        data: Any = x
        if kind in ("CountVectorizer", "TfidfVectorizer"):
            data = texts
        elif kind == "DictVectorizer":
            data = [{"a": 1, "b": "x"}, {"a": 2}]
        elif kind in ("LabelEncoder", "LabelBinarizer"):
            data = y
        elif kind == "IsotonicRegression":
            data = x[:, 0]
        labels = y if len(data) == len(y) and kind not in ("LabelEncoder", "LabelBinarizer") else None
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            estimator.fit(data, labels) if labels is not None else estimator.fit(data)
        if i % 2:
            buffer = io.BytesIO()
            compression = COMPRESSIONS[i // 2 % len(COMPRESSIONS)]
            joblib.dump(estimator, buffer, compress=compression)
            yield honest(f"joblib-{kind}", "model.joblib", buffer.getvalue(), "joblib", "container")
        else:
            yield honest(f"sklearn-{kind}", "model.pkl", pickle.dumps(estimator, i // 2 % 6), "pickle")
