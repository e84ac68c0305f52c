"""Makes tests/fixtures/errors/cleanlab.json: what cleanlab says about labels and probabilities, and prints statsmodels' Wilson
intervals and scipy's binomial tails, which are constants in src/ml/judge/errors.

    pip install cleanlab==2.9.0 statsmodels==0.15.0 && python scripts/make_errors_fixtures.py
"""

import json
import pathlib

import numpy as np
from cleanlab.count import compute_confident_joint, get_confident_thresholds
from cleanlab.filter import find_label_issues
from cleanlab.rank import get_label_quality_scores
from scipy.stats import binom
from statsmodels.stats.proportion import proportion_confint


def case(name, seed, rows, classes, noise, sharpness, skip=()):
    """Rows of a model that is right about most true labels; a share of the given labels is noise."""
    rng = np.random.default_rng(seed)
    there = [c for c in range(classes) if c not in skip]
    true = rng.choice(there, rows)
    labels = true.copy()
    wrong = rng.random(rows) < noise
    labels[wrong] = rng.choice(there, int(wrong.sum()))
    labels[: len(there)] = there
    logits = rng.normal(size=(rows, classes))
    logits[np.arange(rows), true] += sharpness
    exp = np.exp(logits - logits.max(1, keepdims=True))
    # The committed digits are the input: four of them, so that sums are 1 but for rounding, as those of f32 are.
    probabilities = np.round(exp / exp.sum(1, keepdims=True), 4).astype(np.float32).astype(np.float64)
    issues = find_label_issues(labels, probabilities, filter_by="confident_learning", n_jobs=1)
    joint = compute_confident_joint(labels, probabilities, calibrate=False)
    return {
        "name": name,
        "labels": labels.tolist(),
        "probabilities": np.round(probabilities, 4).tolist(),
        "thresholds": get_confident_thresholds(labels, probabilities).tolist(),
        "joint": joint.tolist(),
        "self_confidence": get_label_quality_scores(labels, probabilities, method="self_confidence").tolist(),
        "normalized_margin": get_label_quality_scores(labels, probabilities, method="normalized_margin").tolist(),
        "issues": issues.tolist(),
    }


cases = [
    case("two classes", 1, 80, 2, 0.15, 2.0),
    case("five classes", 2, 120, 5, 0.2, 3.0),
    case("a sharp model and clean labels", 3, 60, 3, 0.0, 6.0),
    case("a model that guesses", 4, 60, 4, 0.1, 0.0),
]
out = pathlib.Path(__file__).parent.parent / "tests/fixtures/errors/cleanlab.json"
out.parent.mkdir(parents=True, exist_ok=True)
# One case a line.
out.write_text("[\n" + ",\n".join(json.dumps(c, separators=(",", ":")) for c in cases) + "\n]\n")

for hits, rows in [(0, 1), (0, 40), (5, 20), (77, 100), (40, 40), (34_411, 41_157)]:
    low, high = proportion_confint(hits, rows, method="wilson")
    print(f"({hits}, {rows}, {low:.17f}, {high:.17f}),")
for right, rows, share in [(0, 1, 0.84), (5, 20, 0.77), (20, 20, 0.77), (300, 400, 0.8), (33_000, 41_157, 0.81)]:
    print(f"({right}, {rows}, {share}, {binom.cdf(right, rows, share):.17e}),")
