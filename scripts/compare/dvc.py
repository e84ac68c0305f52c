#!/usr/bin/env python3
"""Compare a run with nothing to do: this program and `dvc repro` on an equivalent chain of stages.

    scripts/compare/dvc.py [--pipe target/release/pipe] [--dvc dvc] [--stages 30] [--times 10]

`pipe` runs preprocess, tokenize, train and then prunes, each on the model of the stage before. DVC runs the same number of
stages that copy a model folder of the same files. Both run once. Then the script times whole processes in turns and takes
the best time.
"""

import argparse
import json
import os
import pathlib
import shutil
import subprocess
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]


def timed(command, folder):
    begin = time.perf_counter()
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    seconds = time.perf_counter() - begin
    assert done.returncode == 0, done.stderr + done.stdout
    return seconds, done.stdout + done.stderr


def pipe_chain(folder, stages):
    shutil.copytree(ROOT / "models/tiny-roberta", folder / "tiny")
    shutil.copy(ROOT / "data/sample/train.csv", folder)
    text = """name = "chain"
[stage.corpus]
use = "preprocess"
sources = [{ path = "train.csv", format = "covid19", limit = 200 }]
[stage.tokens]
use = "tokenize@64"
in.corpus = "corpus"
tokenizer = "tiny"
[stage.m2]
use = "train"
in.tokens = "tokens"
base = "tiny"
epochs = 1
"""
    for i in range(3, stages):
        text += f'[stage.m{i}]\nuse = "prune@{i / 100}"\nin.model = "m{i - 1}"\n'
    (folder / "p.toml").write_text(text)
    (folder / "cache").mkdir()


def dvc_chain(folder, stages, dvc, model):
    shutil.copytree(model, folder / "m0")
    text = "stages:\n"
    for i in range(1, stages + 1):
        text += f"  s{i}:\n    cmd: cp -r m{i - 1} m{i}\n    deps: [m{i - 1}]\n    outs: [m{i}]\n"
    (folder / "dvc.yaml").write_text(text)
    subprocess.run([dvc, "init", "--no-scm", "-q"], cwd=folder, check=True)
    subprocess.run([dvc, "config", "core.analytics", "false"], cwd=folder, check=True)


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--pipe", default=str(ROOT / "target/release/pipe"))
    options.add_argument("--dvc", default="dvc")
    options.add_argument("--stages", type=int, default=30)
    options.add_argument("--times", type=int, default=10)
    args = options.parse_args()
    pipe = os.path.abspath(args.pipe)
    with tempfile.TemporaryDirectory() as temp:
        ours, theirs = pathlib.Path(temp, "pipe"), pathlib.Path(temp, "dvc")
        ours.mkdir()
        theirs.mkdir()
        pipe_chain(ours, args.stages)
        timed([pipe, "run", "p.toml"], ours)
        model = subprocess.run([pipe, "cache", "path", "p.toml", "m2"], cwd=ours, capture_output=True, text=True)
        dvc_chain(theirs, args.stages, args.dvc, ours / model.stdout.strip())
        timed([args.dvc, "repro"], theirs)
        best = {"pipe": 1e9, "dvc": 1e9}
        for _ in range(args.times):
            seconds, said = timed([pipe, "run", "p.toml"], ours)
            assert f"{args.stages} cached, 0 run" in said, said
            best["pipe"] = min(best["pipe"], seconds)
            seconds, said = timed([args.dvc, "repro"], theirs)
            assert "up to date" in said, said
            best["dvc"] = min(best["dvc"], seconds)
    version = subprocess.run([args.dvc, "--version"], capture_output=True, text=True).stdout.strip()
    print(json.dumps({
        "stages": args.stages, "dvc": version, "pipe_ms": round(best["pipe"] * 1e3, 2),
        "dvc_ms": round(best["dvc"] * 1e3, 1), "ratio": round(best["dvc"] / best["pipe"]),
    }))


if __name__ == "__main__":
    main()
