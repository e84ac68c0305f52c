#!/usr/bin/env python3
"""Check that Optuna and its dashboard open a journal that `pipe` wrote, agree with it, and go on from it.

    pip install optuna==5.0.0 optuna-dashboard
    cargo bench --bench search -- --journal /tmp/search.journal
    python scripts/check_search.py /tmp/search.journal
"""
import argparse
import collections
import json
import math
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
import warnings

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

parser = argparse.ArgumentParser()
parser.add_argument("journal")
arguments = parser.parse_args()
optuna.logging.set_verbosity(optuna.logging.WARNING)
warnings.simplefilter("ignore")

with open(arguments.journal, "rb") as file:
    text = file.read()
assert text.endswith(b"\n"), "the last line has no line break"
assert b"\n" not in text[:-1].split(b"\n")[-1]
for line in text.splitlines():
    json.loads(line)

folder = tempfile.mkdtemp()
path = os.path.join(folder, "search.journal")
shutil.copyfile(arguments.journal, path)


def opened():
    storage = JournalStorage(JournalFileBackend(path))
    names = [summary.study_name for summary in optuna.get_all_study_summaries(storage)]
    assert len(names) == 1, names
    return optuna.load_study(study_name=names[0], storage=storage)


study = opened()
trials = study.trials
states = collections.Counter(trial.state.name for trial in trials)
assert states["COMPLETE"] > 0 and states["RUNNING"] == 0, states
assert [trial.number for trial in trials] == list(range(len(trials)))
for trial in trials:
    for name, value in trial.params.items():
        distribution = trial.distributions[name]
        is_inside = distribution._contains(distribution.to_internal_repr(value))
        assert is_inside or trial.number == 0, f"trial {trial.number}: {name} = {value} is outside {distribution}"
best = study.best_trial
complete = [trial for trial in trials if trial.state == TrialState.COMPLETE]
pick = max if study.direction == optuna.study.StudyDirection.MAXIMIZE else min
assert best.value == pick(trial.value for trial in complete)
for trial in trials:
    if trial.state == TrialState.PRUNED:
        assert trial.intermediate_values and trial.value == trial.intermediate_values[max(trial.intermediate_values)]
print(f"load_study: {len(trials)} trials, {dict(states)}, {study.metric_names}, best {best.number}: {best.value}")

found = optuna.importance.get_param_importances(study)
print("importances:", {name: round(value, 4) for name, value in found.items()})
ours = trials[0].user_attrs.get("importances")
if ours is not None:
    # In the order of the file, which the journal keeps where all parameters are seen.
    by_size = sorted(found.values())
    assert all(math.isclose(a, b, abs_tol=1e-9) for a, b in zip(by_size, sorted(ours)[-len(by_size):])), (found, ours)
    print("importances: equal to ours within 1e-9")

# Each parameter with the distribution it has in the journal; whether it is active follows from a trial like it.
distributions = {name: d for trial in trials for name, d in trial.distributions.items()}


def suggest(trial, name):
    d = distributions[name]
    if isinstance(d, optuna.distributions.CategoricalDistribution):
        return trial.suggest_categorical(name, d.choices)
    if isinstance(d, optuna.distributions.IntDistribution):
        return trial.suggest_int(name, d.low, d.high, step=d.step, log=d.log)
    return trial.suggest_float(name, d.low, d.high, step=d.step, log=d.log)


def objective(trial):
    values = {name: suggest(trial, name) for name in distributions if all(name in t.params for t in trials)}
    like = [t for t in trials if all(t.params[n] == v for n, v in values.items() if isinstance(v, (str, bool)))]
    for name in like[0].params if like else []:
        if name not in values:
            values[name] = suggest(trial, name)
    return best.value


study.optimize(objective, n_trials=5)
again = opened()
assert len(again.trials) == len(trials) + 5 and again.trials[-1].state == TrialState.COMPLETE
assert [(t.params, t.values, t.state) for t in again.trials[: len(trials)]] == [(t.params, t.values, t.state) for t in trials]
with open(path, "rb") as file:
    assert file.read().startswith(text), "what was there has changed"
print("study.optimize: 5 trials more, those before unchanged")

with socket.socket() as probe:
    probe.bind(("127.0.0.1", 0))
    port = probe.getsockname()[1]
dashboard = shutil.which("optuna-dashboard", path=os.path.dirname(sys.executable) + os.pathsep + os.environ["PATH"])
server = subprocess.Popen(
    [dashboard, path, "--host", "127.0.0.1", "--port", str(port)],
    stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
)
try:
    def get(address):
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{address}", timeout=20) as answer:
            return json.load(answer)

    for _ in range(100):
        try:
            studies = get("/api/studies")
            break
        except OSError:
            time.sleep(0.2)
    (summary,) = studies["study_summaries"]
    detail = get(f"/api/studies/{summary['study_id']}")
    assert len(detail["trials"]) == len(trials) + 5
    shares = get(f"/api/studies/{summary['study_id']}/param_importances?evaluator=ped_anova")
    assert shares["param_importances"][0]
    print(f"optuna-dashboard: study `{summary['study_name']}` with {len(detail['trials'])} trials and importances")
finally:
    os.killpg(server.pid, signal.SIGTERM)
    server.wait()
shutil.rmtree(folder)
