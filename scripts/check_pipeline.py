#!/usr/bin/env python3
"""Check that `pipeline("text-classification")` of transformers gives pipe's labels and scores.

    pip install transformers torch           # and compressed-tensors for integer models
    python scripts/check_pipeline.py MODEL_DIR… [--pipe target/release/pipe] [--texts FILE] [--tolerance 1e-4]

Each folder is opened as a user does who has downloaded it: by the folder alone, so labels, tokenizer and its longest sequence
come from its files. An `fp16` folder needs `--tolerance 1e-3`: transformers computes it in 16 bits. Texts are given as they are (`pipe predict --raw`), one per line of FILE, or a few that are hard. The model card
is parsed with `huggingface_hub`.
"""
import argparse
import json
import os
import subprocess
import sys

from huggingface_hub import ModelCard
from transformers import pipeline

TEXTS = ["the queue was awful", "", "  great\t bread 👍🏽 ", "@user it’s “fine”…", "NOOO " * 400, "a &amp; b https://t.co/x"]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+")
    parser.add_argument("--pipe", default="target/release/pipe")
    parser.add_argument("--texts")
    parser.add_argument("--tolerance", type=float, default=1e-4)
    args = parser.parse_args()
    texts = [line.rstrip("\n") for line in open(args.texts, encoding="utf-8")] if args.texts else TEXTS
    failed = False
    for model in args.models:
        words = [args.pipe, "predict", model, "--raw", "--device", "cpu"]
        ran = subprocess.run(words + [w for t in texts for w in ("--text", t)], capture_output=True, text=True)
        if ran.returncode:
            sys.exit(ran.stderr)
        ours = [json.loads(line) for line in ran.stdout.splitlines()]
        classify = pipeline("text-classification", model=model, device="cpu")
        theirs = classify(texts, top_k=None, truncation=True)
        worst, labels = 0.0, 0
        for our, their in zip(ours, theirs, strict=True):
            scores = {one["label"]: one["score"] for one in their}
            worst = max(worst, max(abs(our["scores"][label] - score) for label, score in scores.items()))
            labels += our["label"] != their[0]["label"]
        line = {"model": model, "texts": len(texts), "largest_difference": worst, "other_labels": labels}
        card = os.path.join(model, "README.md")
        if os.path.exists(card):
            data = ModelCard.load(card).data
            line["card"] = {"pipeline_tag": data.pipeline_tag, "base_model": data.base_model, "tags": data.tags}
            line["metrics"] = {one.metric_name or one.metric_type: one.metric_value for one in data.eval_results or []}
        failed |= not worst <= args.tolerance or labels > 0
        print(json.dumps(line), flush=True)
    if failed:
        sys.exit(f"scores differ by more than {args.tolerance}, or labels differ")


if __name__ == "__main__":
    main()
