#!/usr/bin/env python3
"""Compare training steps and forward passes of `pipe` and the Hugging Face stack, in turns, with the ratios.

    cargo build --release --benches
    python scripts/compare/train_step.py PEER.py [--rounds 3] [--steps 4] [CASE ...]

PEER.py prints one JSON line for `--model --device cpu --batch --length --steps [--lora R] [--infer]`, with `ms_per_step` and
`peak_memory_mb`, as `benches/train_step.rs` does. A case is MODEL,BATCH,LENGTH[,lora=R][,infer]; without any, the usual ones.
Machines are noisy: the two take turns, and the report has the ratio of the medians and that of the best.
"""
import argparse, glob, json, os, statistics, subprocess, sys

CASES = ["roberta-base,16,64", "roberta-mini,16,64", "roberta-base,16,64,infer", "roberta-base,16,64,lora=16"]


def bench():
    found = [path for path in glob.glob("target/release/deps/train_step-*") if os.access(path, os.X_OK) and not path.endswith(".d")]
    if not found:
        sys.exit("no train_step bench under target/release; run: cargo build --release --benches")
    return max(found, key=os.path.getmtime)


def run(command):
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{done.stderr}")
    return json.loads(done.stdout.strip().splitlines()[-1])


def main():
    p = argparse.ArgumentParser()
    p.add_argument("peer")
    p.add_argument("cases", nargs="*", default=CASES)
    p.add_argument("--rounds", type=int, default=3)
    p.add_argument("--steps", type=int, default=4)
    a = p.parse_intermixed_args()
    ours = bench()
    for case in a.cases:
        model, batch, length, *more = case.split(",")
        common = ["--model", model, "--batch", batch, "--length", length, "--steps", str(a.steps)]
        theirs_more, ours_more = [], []
        for option in more:
            name, _, value = option.partition("=")
            theirs_more += [f"--{name}"] + ([value] if value else [])
            ours_more += [f"--{name}", value or "true"]
        mine, theirs = [], []
        for _ in range(a.rounds):
            mine.append(run([ours] + common + ours_more))
            theirs.append(run([sys.executable, a.peer, "--device", "cpu"] + common + theirs_more))
        times = [[x["ms_per_step"] for x in side] for side in (mine, theirs)]
        memory = [max(x["peak_memory_mb"] for x in side) for side in (mine, theirs)]
        middle, best = [t[1] / t[0] for t in ([statistics.median(t) for t in times], [min(t) for t in times])]
        rounds = [[round(t) for t in side] for side in times]
        print(f"{case}: pipe {rounds[0]} ms, peer {rounds[1]} ms; times as fast: median {middle:.2f}, best {best:.2f}; "
              f"memory {memory[0]} of {memory[1]} MB, {memory[0] / memory[1]:.2f}", flush=True)


if __name__ == "__main__":
    main()
