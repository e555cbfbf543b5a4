"""A teacher for tuning: regressions on the untouched features, each judging images that it wasn't fitted on."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

TEACHER_FOLDS: Final = 4
TEACHER_C: Final = 1e-3
"""Inverse regularisation of the teacher's regressions on 1,280 standardised features."""


def judge_out_of_fold(
    features: NDArray[np.float32], labels: NDArray[np.int64], n_classes: int, seed: int
) -> NDArray[np.float64]:
    """Judge each row by a logistic regression fitted on the others: `(N, n_classes)`, rows sum to 1."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    judged = np.eye(n_classes)[labels]
    folds = min(TEACHER_FOLDS, int(np.bincount(labels)[np.unique(labels)].min()))
    if folds < 2:
        return judged
    for fitted, rest in StratifiedKFold(folds, shuffle=True, random_state=seed).split(features, labels):
        probe = make_pipeline(StandardScaler(), LogisticRegression(C=TEACHER_C, max_iter=200))
        probe.fit(features[fitted], labels[fitted])
        judged[rest] = 0
        judged[np.ix_(rest, probe.classes_)] = probe.predict_proba(features[rest])
    return judged
