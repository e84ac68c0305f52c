#!/usr/bin/env python3
"""Compare the output of `pipe predict` with what transformers computes from the same folder: weights, config and tokenizer.

    pip install torch transformers peft sentencepiece
    python scripts/check_transformers.py MODEL_DIR… [--pipe target/release/pipe] [--texts FILE]
    python scripts/check_transformers.py BASE_DIR --adapter ADAPTER_DIR --merged MODEL_DIR

Loads each folder with AutoTokenizer and AutoModelForSequenceClassification, scores the texts (one per line; a few are built in)
and compares the logits with those of `pipe predict MODEL_DIR`. A missing or unexpected tensor is an error here, not a warning.
(DeBERTa's texts of one letter repeated can differ by a token: see docs/models.md.) With `--adapter`, peft puts the adapter on
the base, and the script compares its logits with those of pipe on the merged model.
"""
import argparse
import json
import subprocess
import sys
import tempfile

import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

TEXTS = [
    "the supermarket is empty again", "What a day!! #covid19 @user https://t.co/abc", "", "   ", "x", "naïve café — “so” bad… 1½",
    "so 😷 tired of this 🤦🏽‍♀️", "日本語 and русский text", "so long " * 60, "stay home\n\nstay safe", "won't can't I'LL &amp; <3 [MASK] </s>",
]


def by_pipe(pipe, folder, texts):
    with tempfile.NamedTemporaryFile("w", suffix=".jsonl") as file:
        file.write("".join(json.dumps({"text": text}) + "\n" for text in texts))
        file.flush()
        command = [pipe, "predict", folder, "--input", file.name, "--device", "cpu"]
        out = subprocess.run(command, capture_output=True, text=True)
    if out.returncode:
        sys.exit(f"{' '.join(command)}: {out.stderr}")
    return torch.tensor([json.loads(line)["logits"] for line in out.stdout.splitlines()])


def by_transformers(folder, adapter, texts):
    tokenizer = AutoTokenizer.from_pretrained(folder if adapter is None else adapter[1])
    model, info = AutoModelForSequenceClassification.from_pretrained(folder, output_loading_info=True)
    problems = {key: list(value) for key, value in info.items() if value}
    if problems:
        sys.exit(f"{folder}: loading reports {problems}")
    if adapter:
        from peft import PeftModel
        model = PeftModel.from_pretrained(model, adapter[0])
    model.eval().float()
    longest = model.config.max_position_embeddings - (2 if "roberta" in model.config.model_type else 0)
    longest = min(longest, tokenizer.model_max_length)
    rows = []
    with torch.no_grad():
        for text in texts:
            batch = tokenizer(text, return_tensors="pt", truncation=True, max_length=longest)
            rows.append(model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits[0])
    return torch.stack(rows)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+")
    parser.add_argument("--pipe", default="target/release/pipe")
    parser.add_argument("--texts")
    parser.add_argument("--adapter")
    parser.add_argument("--merged")
    parser.add_argument("--tolerance", type=float, default=1e-4)
    args = parser.parse_args()
    texts = open(args.texts, encoding="utf-8").read().splitlines() if args.texts else TEXTS
    failed = False
    for folder in args.models:
        adapter = (args.adapter, args.merged) if args.adapter else None
        theirs = by_transformers(folder, adapter, texts)
        ours = by_pipe(args.pipe, args.merged if adapter else folder, texts)
        difference = (theirs - ours).abs().max().item()
        failed |= not difference <= args.tolerance
        print(json.dumps({"model": folder, "texts": len(texts), "largest_difference": difference}))
    if failed:
        sys.exit(f"logits differ by more than {args.tolerance}")


if __name__ == "__main__":
    main()
