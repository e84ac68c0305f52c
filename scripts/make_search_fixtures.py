#!/usr/bin/env python3
"""Make tests/fixtures/search: densities and importances as Optuna 5 computes them.

    pip install optuna==5.0.0
    python scripts/make_search_fixtures.py
"""
import json
import os
import warnings

import numpy
import optuna
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers._tpe import parzen_estimator
from optuna.samplers._tpe.parzen_estimator import _ParzenEstimator, _ParzenEstimatorParameters
from optuna.samplers._tpe.sampler import default_weights

OUT = "tests/fixtures/search"
warnings.simplefilter("ignore")
optuna.logging.set_verbosity(optuna.logging.ERROR)


class StableNumpy:
    """NumPy with a stable `argsort`. Which of two equal values comes first decides which of their kernels is the wider one; for
    long arrays, NumPy's default depends on the processor."""

    def __getattr__(self, name):
        return getattr(numpy, name)

    @staticmethod
    def argsort(values):
        return numpy.argsort(values, kind="stable")


parzen_estimator.np = StableNumpy()

FLOAT = FloatDistribution(0.0, 0.3)
RATE = FloatDistribution(1e-5, 5e-5, log=True)
WIDE = FloatDistribution(1e-8, 10.0, log=True)
EPOCHS = IntDistribution(1, 5)
STEPS = IntDistribution(-8, 61, step=4)  # ends at 60
RANK = IntDistribution(1, 256, log=True)
CHOICE = CategoricalDistribution([8, 16, 32])
SCHEDULE = CategoricalDistribution(["linear", "cosine", "constant", "polynomial"])
MANY = IntDistribution(0, 1000)


def draw(random, distribution):
    """A value in Optuna's internal form."""
    if isinstance(distribution, CategoricalDistribution):
        return int(random.integers(len(distribution.choices)))
    low, high = distribution.low, distribution.high
    if isinstance(distribution, IntDistribution):
        if distribution.log:
            return int(round(numpy.exp(random.uniform(numpy.log(low), numpy.log(high)))))
        return int(low + distribution.step * random.integers((high - low) // distribution.step + 1))
    if distribution.log:
        return float(numpy.clip(numpy.exp(random.uniform(numpy.log(low), numpy.log(high))), low, high))
    return float(random.uniform(low, high))


def described(distribution):
    if isinstance(distribution, CategoricalDistribution):
        return {"choices": len(distribution.choices)}
    kind = "integer" if isinstance(distribution, IntDistribution) else "float"
    entry = {"kind": kind, "low": distribution.low, "high": distribution.high, "log": distribution.log}
    return entry | ({"step": distribution.step} if kind == "integer" else {})


def parzen(seed, distributions, points, queries=8):
    random = numpy.random.default_rng(seed)
    space = {f"p{i}": distribution for i, distribution in enumerate(distributions)}
    rows = [[draw(random, d) for d in distributions] for _ in range(points)]
    asked = [[draw(random, d) for d in distributions] for _ in range(queries)]
    # The ends of the ranges, and a point that was observed.
    asked.append([0 if isinstance(d, CategoricalDistribution) else d.low for d in distributions])
    asked.append([0 if isinstance(d, CategoricalDistribution) else d.high for d in distributions])
    asked += rows[:1]
    columns = lambda rows: {name: numpy.array([row[i] for row in rows], dtype=float) for i, name in enumerate(space)}
    parameters = _ParzenEstimatorParameters(
        prior_weight=1.0, consider_magic_clip=True, consider_endpoints=False, weights=default_weights, multivariate=True
    )
    log_pdf = _ParzenEstimator(columns(rows), space, parameters).log_pdf(columns(asked))
    return {
        "space": [described(d) for d in distributions], "points": rows, "queries": asked, "log_pdf": log_pdf.tolist()
    }


def importance(seed, distributions, trials, maximize, value, is_active=lambda row, i: True):
    random = numpy.random.default_rng(seed)
    study = optuna.create_study(direction="maximize" if maximize else "minimize")
    rows, values = [], []
    for _ in range(trials):
        row = [draw(random, d) for d in distributions]
        kept = [x if is_active(row, i) else None for i, x in enumerate(row)]
        values.append(float(value(kept, random)))
        rows.append(kept)
        space = {f"p{i}": d for i, d in enumerate(distributions) if kept[i] is not None}
        params = {f"p{i}": d.to_external_repr(kept[i]) for i, d in enumerate(distributions) if kept[i] is not None}
        study.add_trial(optuna.trial.create_trial(params=params, distributions=space, value=values[-1]))
    found = optuna.importance.get_param_importances(study)
    return {
        "space": [described(d) for d in distributions], "points": rows, "values": values, "maximize": maximize,
        "importances": [found.get(f"p{i}", 0.0) for i in range(len(distributions))],
    }


ALL = [RATE, CHOICE, FLOAT, SCHEDULE, EPOCHS, STEPS, RANK, WIDE]
os.makedirs(OUT, exist_ok=True)
densities = [parzen(1 + i, [d], 7) for i, d in enumerate([FLOAT, RATE, WIDE, EPOCHS, STEPS, RANK, CHOICE, SCHEDULE, MANY])]
densities += [parzen(20 + n, ALL, n) for n in (0, 1, 2, 9, 25, 26, 27)]
densities += [parzen(30, ALL, 120, 4), parzen(31, [RANK, STEPS], 40), parzen(32, [MANY, FLOAT], 60, 4)]
quadratic = lambda row, random: (row[0] * 1e5 - 3) ** 2 + row[1] + 10 * row[2] + random.normal() / 10
conditional = lambda row, random: (row[1] or 0) - (row[2] or 0) * 3 + (row[0] == 1)
importances = [
    importance(1, [RATE, CHOICE, FLOAT], 15, False, quadratic),
    importance(2, [RATE, CHOICE, FLOAT], 100, True, quadratic),
    importance(3, ALL, 60, True, lambda row, random: row[1] - row[4] + row[6] / 100 + row[5] * row[2]),
    importance(4, [CHOICE, EPOCHS, FLOAT], 50, False, conditional, lambda row, i: i == 0 or (row[0] == i)),
    importance(5, [RATE, CHOICE], 3, True, lambda row, random: row[0]),
    importance(6, [RATE, CHOICE], 1, True, lambda row, random: row[0]),
    importance(7, [CHOICE, SCHEDULE], 12, True, lambda row, random: row[0]),
    importance(8, [MANY, RANK, IntDistribution(3, 3)], 40, False, lambda row, random: abs(row[0] - 300) + row[1]),
    importance(9, [CHOICE, FLOAT], 10, True, lambda row, random: 1.0),
]
for name, cases in {"parzen": densities, "importance": importances}.items():
    with open(f"{OUT}/{name}.json", "w") as file:
        json.dump(cases, file, separators=(",", ":"))
        file.write("\n")
