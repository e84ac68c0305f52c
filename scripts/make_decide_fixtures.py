"""Temperature, thresholds and calibration numbers of scikit-learn, for the tests of `decide`.

    pip install scikit-learn==1.9.1
    python scripts/make_decide_fixtures.py        # writes tests/fixtures/decide/*.json
"""

import json
from pathlib import Path

import numpy as np
import sklearn
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.calibration import CalibratedClassifierCV
from sklearn.frozen import FrozenEstimator
from sklearn.metrics import brier_score_loss, f1_score, log_loss
from sklearn.model_selection import TunedThresholdClassifierCV

OUT = Path(__file__).resolve().parent.parent / "tests" / "fixtures" / "decide"
BINS = 15


class Given(ClassifierMixin, BaseEstimator):
    """A classifier whose decision function is its input."""

    def __init__(self, classes=2):
        self.classes = classes

    def fit(self, x=None, y=None):
        self.classes_ = np.arange(self.classes)
        self.is_fitted_ = True
        return self

    def decision_function(self, x):
        # scikit-learn makes the two logits (-d, d) of one number.
        return (x[:, 1] - x[:, 0]) / 2 if self.classes == 2 else x

    def predict(self, x):
        return np.argmax(x, axis=1)


class Probabilities(Given):
    decision_function = None

    def predict_proba(self, x):
        return np.column_stack([1 - x[:, 0], x[:, 0]])

    def predict(self, x):
        return (x[:, 0] >= 0.5).astype(int)


def softmax(z):
    e = np.exp(z - z.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def temperature(logits, labels):
    model = CalibratedClassifierCV(FrozenEstimator(Given(logits.shape[1]).fit()), method="temperature")
    model.fit(logits, labels)
    return 1 / float(model.calibrated_classifiers_[0].calibrators[0].beta_)


def threshold(p, positive, scoring):
    """The threshold that scikit-learn takes among all distinct probabilities, and one that none reaches."""
    candidates = np.append(np.unique(p), 1.0)
    model = TunedThresholdClassifierCV(
        Probabilities().fit(), scoring=scoring, thresholds=candidates, cv="prefit", refit=False,
        response_method="predict_proba",
    )
    model.fit(p.reshape(-1, 1), positive.astype(int))
    return float(model.best_threshold_), float(model.best_score_)


def errors(p, labels):
    confidence, right = p.max(axis=1), p.argmax(axis=1) == labels
    edges = np.arange(BINS + 1) / BINS
    ece, counts = 0.0, []
    for low, high in zip(edges[:-1], edges[1:]):
        inside = (confidence > low) & (confidence <= high)
        counts.append(int(inside.sum()))
        if inside.any():
            ece += inside.mean() * abs(right[inside].mean() - confidence[inside].mean())
    order = np.argsort(confidence, kind="stable")
    parts = [part for part in np.array_split(order, BINS) if len(part)]
    adaptive = sum(len(part) / len(labels) * abs(right[part].mean() - confidence[part].mean()) for part in parts)
    return float(ece), float(adaptive), counts


def case(name, rows, classes, scale, seed):
    rng = np.random.default_rng(seed)
    shares = np.array([0.5, 0.3, 0.15, 0.05])[:classes]
    labels = rng.choice(classes, rows, p=shares / shares.sum())
    logits = rng.normal(size=(rows, classes)) + np.log(shares)
    logits[np.arange(rows), labels] += 1.2
    logits = (scale * logits).astype(np.float32).round(3)
    z = logits.astype(np.float64)
    p = softmax(z)
    ece, adaptive, counts = errors(p, labels)
    found = {
        "scikit-learn": sklearn.__version__,
        "classes": classes,
        "logits": [float(str(x)) for x in logits.ravel()],
        "labels": labels.tolist(),
        "temperature": temperature(z, labels),
        "log_loss": float(log_loss(labels, p, labels=range(classes))),
        "brier": float(brier_score_loss(labels, p, labels=range(classes), scale_by_half=False)),
        "ece": ece,
        "adaptive_ece": adaptive,
        "bin_rows": counts,
        # One-vs-rest accuracy.
        "thresholds": [threshold(p[:, c], labels == c, "accuracy")[0] for c in range(classes)],
    }
    if classes == 2:
        at, score = threshold(p[:, 1], labels == 1, "f1_macro")
        found["macro_f1_threshold"] = at
        found["macro_f1"] = score
        found["macro_f1_argmax"] = float(f1_score(labels, p.argmax(axis=1), average="macro"))
    (OUT / f"{name}.json").write_text(json.dumps(found) + "\n")
    print(name, {k: v for k, v in found.items() if k not in ("logits", "labels")})


OUT.mkdir(parents=True, exist_ok=True)
case("overconfident", 400, 4, 3.0, 1)
case("underconfident", 300, 3, 0.4, 2)
case("binary", 250, 2, 1.7, 3)
