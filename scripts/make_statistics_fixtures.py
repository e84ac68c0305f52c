#!/usr/bin/env python3
"""Makes tests/fixtures/statistics/peers.json: what SciPy, statsmodels and deep-significance give for fixed numbers.

pip install scipy==1.17.1 statsmodels==0.15.0 deepsig==1.2.8
python scripts/make_statistics_fixtures.py
"""

import json
import warnings
from pathlib import Path

import deepsig
import numpy as np
import scipy
import scipy.stats as stats
import statsmodels
from deepsig.aso import compute_violation_ratio
from scipy.optimize import brentq
from statsmodels.stats.power import TTestPower

warnings.filterwarnings("ignore")


def quantiles():
    tails = [0.4, 0.25, 0.1, 0.05, 0.025, 0.005, 1e-3, 1e-6]
    freedoms = [1, 2, 3, 4, 5.5, 7, 9, 14, 19, 29.25, 99, 1000, 41000]
    return [[tail, freedom, stats.t.isf(tail, freedom)] for freedom in freedoms for tail in tails]


def tails():
    return [[t, freedom, stats.t.sf(t, freedom)] for freedom in [1, 2, 4, 9, 30.5, 500] for t in [-2, 0, 0.01, 0.7, 2.776, 8, 60]]


def paired(baseline, variant):
    baseline, variant = np.array(baseline), np.array(variant)
    test = stats.ttest_rel(variant, baseline)
    interval = test.confidence_interval(0.95)
    # All 2^n choices of signs: n_resamples is larger.
    flips = stats.permutation_test(
        (variant - baseline,), np.mean, permutation_type="samples", n_resamples=np.inf, alternative="two-sided"
    )
    own = stats.ttest_1samp(variant, 0.0).confidence_interval(0.95)
    return {
        "baseline": baseline.tolist(),
        "variant": variant.tolist(),
        "mean": float(np.mean(variant - baseline)),
        "sd": float(np.std(variant - baseline, ddof=1)),
        "low": float(interval.low),
        "high": float(interval.high),
        "t_p": float(test.pvalue),
        "sign_flip_p": float(flips.pvalue),
        "variant_mean": float(np.mean(variant)),
        "variant_sd": float(np.std(variant, ddof=1)),
        "variant_low": float(own.low),
        "variant_high": float(own.high),
    }


def pairs():
    rng = np.random.default_rng(7)
    made = [
        paired([0.8833, 0.8717, 0.8950, 0.8800, 0.8867], [0.9233, 0.9083, 0.9150, 0.9267, 0.9117]),
        paired([0.88, 0.87, 0.89, 0.88, 0.885], [0.885, 0.86, 0.895, 0.89, 0.88]),
        paired([0.5, 0.7], [0.6, 0.65]),
        paired([0.91, 0.90, 0.92], [0.90, 0.90, 0.93]),
        # Multiples of one row of 600: sums of signs tie.
        paired([x / 600 for x in [530, 528, 533, 527, 531, 529, 530, 534]], [x / 600 for x in [532, 527, 536, 528, 531, 533, 529, 536]]),
    ]
    for n in [10, 15, 18]:
        base = rng.normal(0.85, 0.02, n)
        made.append(paired(base.tolist(), (base + rng.normal(0.006, 0.012, n)).tolist()))
    return made


def power():
    test = TTestPower()
    # `solve_power` stops at six digits.
    def solve(n):
        near = test.solve_power(effect_size=None, nobs=n, alpha=0.05, power=0.8)
        excess = lambda effect: test.power(effect, n, 0.05) - 0.8
        return brentq(excess, near - 1e-3, near + 1e-3, xtol=1e-13, rtol=1e-13)

    detectable = [[n, solve(n)] for n in [3, 4, 5, 8, 10, 15, 20, 50, 200]]
    needed = []
    for effect in [2.5, 1.7, 0.9, 0.5, 0.3, 0.15]:
        n = 2
        while test.power(effect, n, 0.05) < 0.8:
            n += 1
        needed.append([effect, n])
    return {"detectable": detectable, "needed": needed}


def exact_ratio(variant, baseline):
    """The violation ratio with integrals between all steps of the two quantile functions."""
    f, g = np.sort(variant), np.sort(baseline)
    n, m = len(f), len(g)
    steps = np.unique([i * m for i in range(n + 1)] + [j * n for j in range(m + 1)])
    middle = (steps[1:] + steps[:-1]) / 2
    difference = g[(middle // n).astype(int)] - f[(middle // m).astype(int)]
    area = difference**2 * np.diff(steps)
    return float(area[difference > 0].sum() / area.sum())


def orders():
    rng = np.random.default_rng(11)
    sets = [
        ([0.9233, 0.9083, 0.9150, 0.9267, 0.9117], [0.8833, 0.8717, 0.8950, 0.8800, 0.8867]),
        ([0.88, 0.86, 0.90, 0.89, 0.885], [0.885, 0.87, 0.89, 0.88, 0.88]),
        ([0.885, 0.86, 0.895, 0.89, 0.88], [0.88, 0.87, 0.89, 0.88, 0.885]),
        (rng.normal(0.86, 0.01, 10).tolist(), rng.normal(0.855, 0.02, 12).tolist()),
        (rng.normal(0.85, 0.02, 20).tolist(), rng.normal(0.86, 0.015, 20).tolist()),
    ]
    made = []
    for variant, baseline in sets:
        np.random.seed(0)
        epsilon = deepsig.aso(variant, baseline, num_bootstrap_iterations=3000, dt=0.002, show_progress=False, seed=1)
        made.append(
            {
                "variant": variant,
                "baseline": baseline,
                "ratio": exact_ratio(variant, baseline),
                "deepsig_ratio": float(compute_violation_ratio(np.array(variant), np.array(baseline), dt=1e-5)),
                "deepsig_epsilon": float(epsilon),
            }
        )
    return made


def macro_f1(labels, predicted, weights, classes):
    scores = []
    for c in range(classes):
        right = weights[(labels == c) & (predicted == c)].sum()
        total = weights[labels == c].sum() + weights[predicted == c].sum()
        if total > 0:
            scores.append(2 * right / total)
    return np.mean(scores)


def bootstrap():
    """The two-level bootstrap with NumPy, draw by draw."""
    rng = np.random.default_rng(3)
    rows, classes, pairs, draws = 240, 3, 5, 20_000
    labels = rng.choice(classes, rows, p=[0.5, 0.3, 0.2])
    hard = rng.random(rows) < 0.2

    def model(wrong):
        flip = rng.random(rows) < np.where(hard, 0.5, wrong)
        return np.where(flip, (labels + rng.integers(1, classes, rows)) % classes, labels)

    base = [model(0.05 + 0.02 * rng.random()) for _ in range(pairs)]
    variant = [model(0.02 + 0.04 * rng.random()) for _ in range(pairs)]
    rights = np.array([(v == labels).astype(int) - (b == labels).astype(int) for b, v in zip(base, variant)])

    def changes(weights):
        accuracy = rights @ weights / weights.sum()
        f1 = [macro_f1(labels, v, weights, classes) - macro_f1(labels, b, weights, classes) for b, v in zip(base, variant)]
        return accuracy, np.array(f1)

    observed = changes(np.ones(rows))
    means, on_rows = np.empty((draws, 2)), np.empty((draws, 2))
    for draw in range(draws):
        weights = np.bincount(rng.integers(0, rows, rows), minlength=rows).astype(float)
        seeds = rng.integers(0, pairs, pairs)
        for metric, values in enumerate(changes(weights)):
            means[draw, metric], on_rows[draw, metric] = values[seeds].mean(), values.mean()
    out = {}
    for metric, name in enumerate(["accuracy", "macro_f1"]):
        of_seeds, of_rows = np.var(observed[metric], ddof=1) / pairs, np.var(on_rows[:, metric], ddof=1)
        total = of_seeds + of_rows
        shrunk = of_seeds * (pairs - 1) / pairs + of_rows
        freedom = total**2 / (of_seeds**2 / (pairs - 1) + of_rows**2 / (rows - 1))
        aside = stats.norm.cdf(-np.sqrt(total / shrunk) * stats.t.ppf(0.975, freedom))
        drawn = means[:, metric]
        out[name] = {
            "observed": observed[metric].tolist(),
            "low": float(np.quantile(drawn, aside)),
            "high": float(np.quantile(drawn, 1 - aside)),
            "better": float((drawn > 0).mean() + (drawn == 0).mean() / 2),
        }
    digits = lambda column: "".join(map(str, column))
    return {
        "classes": classes,
        "labels": digits(labels),
        "baseline": [digits(b) for b in base],
        "variant": [digits(v) for v in variant],
        **out,
    }


def main():
    made = {
        "made_by": "scripts/make_statistics_fixtures.py",
        "versions": {"numpy": np.__version__, "scipy": scipy.__version__, "statsmodels": statsmodels.__version__, "deepsig": "1.2.8"},
        "quantiles": quantiles(),
        "tails": tails(),
        "pairs": pairs(),
        "power": power(),
        "orders": orders(),
        "bootstrap": bootstrap(),
    }
    path = Path(__file__).parent.parent / "tests/fixtures/statistics/peers.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(made, indent=1) + "\n")
    print(f"wrote {path}")


if __name__ == "__main__":
    main()
