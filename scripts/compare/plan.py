#!/usr/bin/env python3
"""Measure the planning of a pipeline of thousands of stages: time and memory of the whole process.

    scripts/compare/plan.py [--pipe target/release/pipe] [--stages 10000] [--times 5]

The pipeline consists of a corpus, tokens, a model, and fifty chains of prunes. The cache has none of their results.
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


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--pipe", default=str(ROOT / "target/release/pipe"))
    options.add_argument("--stages", type=int, default=10000)
    options.add_argument("--times", type=int, default=5)
    args = options.parse_args()
    pipe = os.path.abspath(args.pipe)
    with tempfile.TemporaryDirectory() as temp:
        folder = pathlib.Path(temp)
        shutil.copytree(ROOT / "models/tiny-roberta", folder / "tiny")
        shutil.copy(ROOT / "data/sample/train.csv", folder)
        text = (
            'name = "big"\n[stage.corpus]\nuse = "preprocess"\nsources = [{ path = "train.csv", format = "covid19" }]\n'
            '[stage.tokens]\nuse = "tokenize@64"\nin.corpus = "corpus"\ntokenizer = "tiny"\n'
            '[stage.m0]\nuse = "train"\nin.tokens = "tokens"\nbase = "tiny"\n'
        )
        for i in range(1, args.stages - 2):
            text += f'[stage.m{i}]\nuse = "prune@0.{i % 9 + 1}"\nin.model = "m{max(0, i - 50)}"\n'
        (folder / "big.toml").write_text(text)
        best, most = 1e9, 0
        for _ in range(args.times):
            begin = time.perf_counter()
            child = subprocess.Popen([pipe, "plan", "big.toml"], cwd=folder, stdout=subprocess.PIPE)
            said = child.stdout.read()
            _, status, usage = os.wait4(child.pid, 0)
            best, most = min(best, time.perf_counter() - begin), max(most, usage.ru_maxrss * 1024)
            assert status == 0 and f"{args.stages:,} to run".encode() in said, said[:200]
    print(json.dumps({"stages": args.stages, "plan_ms": round(best * 1e3, 1), "resident_mb": round(most / 1e6, 1)}))


if __name__ == "__main__":
    main()
