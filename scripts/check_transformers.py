#!/usr/bin/env python3
"""Load a model folder that pipe wrote with transformers (and an adapter with peft) and compare logits.

    pip install torch transformers peft
    python check_transformers.py MODEL_DIR LOGITS.json [--adapter ADAPTER_DIR]

LOGITS.json holds what pipe computed: input_ids and attention_mask [B,T], logits [B,C]. A model folder
without weights cannot pass: a missing or unexpected tensor is an error here, not a warning.
"""
import argparse
import json
import sys

import torch
from transformers import AutoModelForSequenceClassification


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("model")
    parser.add_argument("logits")
    parser.add_argument("--adapter")
    parser.add_argument("--tolerance", type=float, default=1e-4)
    args = parser.parse_args()
    model, info = AutoModelForSequenceClassification.from_pretrained(args.model, output_loading_info=True)
    problems = {key: list(value) for key, value in info.items() if value}
    if problems:
        sys.exit(f"{args.model}: loading reports {problems}")
    if args.adapter:
        from peft import PeftModel
        model = PeftModel.from_pretrained(model, args.adapter)
    model.eval().float()
    with open(args.logits) as file:
        expected = json.load(file)
    with torch.no_grad():
        logits = model(
            input_ids=torch.tensor(expected["input_ids"]),
            attention_mask=torch.tensor(expected["attention_mask"]),
        ).logits
    difference = (logits - torch.tensor(expected["logits"])).abs().max().item()
    labels = [model.config.id2label[i] for i in range(logits.shape[-1])]
    print(json.dumps({"model": args.model, "largest_difference": difference, "labels": labels}))
    if not difference <= args.tolerance:
        sys.exit(f"logits differ by {difference}, more than {args.tolerance}")


if __name__ == "__main__":
    main()
