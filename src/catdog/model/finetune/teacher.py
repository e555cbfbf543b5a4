"""A teacher for fine-tuning: logistic regressions on the original features, predicting out of fold."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

TEACHER_FOLDS: Final = 4
TEACHER_C: Final = 1e-3
"""Inverse regularisation of the teacher's regressions on 1,280 standardised features."""


def predict_out_of_fold(
    features: NDArray[np.float32], labels: NDArray[np.int64], n_classes: int, seed: int
) -> NDArray[np.float64]:
    """Predict each row with a logistic regression fitted on other rows: `(N, n_classes)`, rows sum to 1."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    predicted = np.eye(n_classes)[labels]
    folds = min(TEACHER_FOLDS, int(np.bincount(labels)[np.unique(labels)].min()))
    if folds < 2:
        return predicted
    for fitted, rest in StratifiedKFold(folds, shuffle=True, random_state=seed).split(features, labels):
        probe = make_pipeline(StandardScaler(), LogisticRegression(C=TEACHER_C, max_iter=200))
        probe.fit(features[fitted], labels[fitted])
        predicted[rest] = 0
        predicted[np.ix_(rest, probe.classes_)] = probe.predict_proba(features[rest])
    return predicted
