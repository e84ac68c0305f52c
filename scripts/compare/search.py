#!/usr/bin/env python3
"""Compare what searches of 15 trials miss of the best value: `pipe` beside Optuna, on the surrogates of benches/surrogates.

    pip install optuna==5.0.0
    python scripts/compare/search.py [--seeds 300] [--first 0] [--trials 15]

Regret is in points of F1, the mean over the seeds with its standard error. "Late" is how many trials the result of a trial comes
late: with `parallel = 2` a suggestion does not know the result of the trial before it, so 1 late. About 20 minutes.
"""
import argparse
import concurrent.futures
import json
import math
import random
import statistics
import subprocess
import time
import warnings

import optuna
from optuna.distributions import CategoricalDistribution as Choice
from optuna.distributions import FloatDistribution as Float
from optuna.distributions import IntDistribution as Integer

BEST = 0.87
lg = math.log10


def shape(x):
    return (
        BEST - 0.18 * (lg(x[0]) - lg(4e-5)) ** 2 - [0.0, 0.004, 0.01][x[1]] - 0.05 * (x[2] - 0.05) ** 2
        - [0.002, 0.0, 0.003][x[3]] - [0.03, 0.015, 0.006, 0.0][x[4]]
    )


def interaction(x):
    batch = [8, 16, 32][x[1]]
    return (
        BEST - 0.25 * (lg(x[0]) - lg(2e-5) - 0.5 * lg(batch / 16)) ** 2 - [0.004, 0.0, 0.002][x[1]]
        - 0.05 * (x[2] - 0.1) ** 2 - [0.002, 0.0, 0.003][x[3]] - 0.004 * abs(x[4] - x[3] - 1)
    )


def conditional(x):
    if x[0] == 0:
        return 0.862 - 0.02 * (lg(x[1]) - lg(3e-5)) ** 2 - [0.03, 0.015, 0.006, 0.0][x[2]]
    return (
        BEST - 0.015 * (lg(x[1]) - lg(3e-4)) ** 2 - 0.001 * (math.log2(x[3]) - 4) ** 2 - 0.01 * (math.log2(x[4]) - 1) ** 2
    )


def wide(x):
    return (
        BEST - 0.02 * (lg(x[0]) - lg(3e-5)) ** 2 - 0.05 * (x[1] - 0.05) ** 2 - 0.3 * (x[2] - 0.06) ** 2
        - 0.1 * (x[3] - 0.1) ** 2 - 0.1 * (x[4] - 0.05) ** 2 - 0.002 * (x[5] - 4) ** 2
        - 0.003 * (math.log2(x[6]) - 4) ** 2 - [0.002, 0.0, 0.003][x[7]]
    )


SHAPE = [Float(1e-5, 5e-5, log=True), Choice([0, 1, 2]), Float(0, 0.3), Choice([0, 1, 2]), Choice([0, 1, 2, 3])]
CONDITIONAL = [Choice([0, 1]), Float(1e-6, 1e-3, log=True), Choice([0, 1, 2, 3]), Integer(2, 64, log=True), Float(0.5, 4, log=True)]
WIDE = [
    Float(1e-6, 1e-3, log=True), Float(0, 0.3), Float(0, 0.2), Float(0, 0.3), Float(0, 0.2), Integer(1, 5),
    Integer(8, 64, log=True), Choice([0, 1, 2]),
]
FILE = [2e-5, 1, 0.01, 0, 3]
# The space, trial 0, the function, the noise, and when a parameter is active.
SURROGATES = {
    "shape": (SHAPE, FILE, shape, 0.0, None),
    "interaction": (SHAPE, FILE, interaction, 0.0, None),
    "noise": (SHAPE, FILE, shape, 0.003, None),
    "conditional": (CONDITIONAL, [0, 2e-5, 3, None, None], conditional, 0.0, {2: 0, 3: 1, 4: 1}),
    "wide": (WIDE, [5e-5, 0.01, 0.0, 0.1, 0.0, 3, 16, 0], wide, 0.0, None),
}
# Start-up trials (None: all random), whether trial 0 is the file's, results that many late.
SETTINGS = {
    "random": (None, True, 0),
    "default": (10, False, 0),
    "5 start-ups": (5, False, 0),
    "5 start-ups, trial 0": (5, True, 0),
    "the same, 1 late": (5, True, 1),
    "the same, 2 late": (5, True, 2),
}


def suggest(trial, name, distribution):
    if isinstance(distribution, Choice):
        return trial.suggest_categorical(name, distribution.choices)
    if isinstance(distribution, Integer):
        return trial.suggest_int(name, distribution.low, distribution.high, log=distribution.log)
    return trial.suggest_float(name, distribution.low, distribution.high, log=distribution.log)


def search(name, setting, seed, trials):
    """The trials' values without and with noise."""
    space, file, function, noise, when = SURROGATES[name]
    startup, with_file, late = setting
    sampler = optuna.samplers.RandomSampler(seed=seed)
    if startup is not None:
        sampler = optuna.samplers.TPESampler(seed=seed, n_startup_trials=startup)
    study = optuna.create_study(direction="maximize", sampler=sampler)
    if with_file:
        study.enqueue_trial({f"p{i}": value for i, value in enumerate(file) if value is not None})
    draw = random.Random(seed)
    values, told = [], []
    for number in range(trials):
        trial = study.ask()
        x = []
        for index, distribution in enumerate(space):
            is_active = when is None or index not in when or x[0] == when[index]
            x.append(suggest(trial, f"p{index}", distribution) if is_active else None)
        values.append(function(x))
        told.append((trial, values[-1] + noise * draw.gauss(0, 1)))
        if number >= late:
            study.tell(*told[number - late])
    return values, [observed for _, observed in told]


def regret(job):
    name, setting, seed, trials = job
    values, observed = search(name, setting, seed, trials)
    return 100 * (BEST - values[max(range(trials), key=observed.__getitem__)])


def quiet():
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.simplefilter("ignore")


def shown(regrets):
    return f"{statistics.fmean(regrets):.3f} ± {statistics.stdev(regrets) / math.sqrt(len(regrets)):.3f}"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seeds", type=int, default=300)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--trials", type=int, default=15)
    parser.add_argument("--ours", default="cargo bench --bench search --", help="the command of the bench")
    parser.add_argument("--processes", type=int, default=2)
    arguments = parser.parse_args()
    quiet()
    command = arguments.ours.split()
    for option in ("seeds", "first", "trials"):
        command += [f"--{option}", str(getattr(arguments, option))]
    ours = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    for name, rows in ours["probes"]:
        for x, value in rows:
            x = [int(v) if v is not None and not isinstance(d, Float) else v for v, d in zip(x, SURROGATES[name][0])]
            assert abs(SURROGATES[name][2](x) - value) < 1e-12, f"{name}: the two sides have different functions"
    table = {}
    seeds = range(arguments.first, arguments.first + arguments.seeds)
    with concurrent.futures.ProcessPoolExecutor(arguments.processes, initializer=quiet) as pool:
        for name in SURROGATES:
            for label, setting in SETTINGS.items():
                jobs = [(name, setting, seed, arguments.trials) for seed in seeds]
                table[name, f"Optuna, {label}"] = shown(list(pool.map(regret, jobs, chunksize=10)))
            for label in ("random", "0 late", "1 late", "2 late"):
                table[name, f"`pipe`, {label}"] = shown(ours["regrets"][f"{name} {label}"])
    print("| | " + " | ".join(SURROGATES) + " |\n| --- |" + " --- |" * len(SURROGATES))
    for label in dict.fromkeys(label for _, label in table):
        print(f"| {label} | " + " | ".join(table[name, label] for name in SURROGATES) + " |")
    begin = time.perf_counter()
    search("shape", SETTINGS["5 start-ups, trial 0"], 0, 1000)
    print(f"1,000 trials: `pipe` {ours['seconds_of_1000_suggestions']:.2f} s, Optuna {time.perf_counter() - begin:.1f} s")


if __name__ == "__main__":
    main()
