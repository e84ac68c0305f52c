#!/usr/bin/env python3
"""Compare what ONNX Runtime computes from the files of `convert` with what transformers computes from the model.

    pip install torch transformers onnxruntime
    python scripts/check_onnx.py MODEL_DIR ONNX_DIR… [--tolerance 1e-4] [--rows FILE] [--time 16x64]

The first folder holds the model, the others the output of `convert`. The script runs batches of several shapes, with rows of
different lengths, through both. For each folder it prints one JSON line with the largest difference of a logit, how often the
label differs, and the size of the file. `--rows` reads token ids from a file instead, one JSON list per line. `--time` adds
samples/s of both at that batch, on `--threads` threads. (`pipe cache path FILE STAGE` prints a stage's folder.)
"""
import argparse
import json
import os
import statistics
import sys
import time

import numpy as np
import onnxruntime
import torch
from transformers import AutoModelForSequenceClassification

SHAPES = [(1, 1), (1, 5), (3, 16), (4, 40), (2, 100)]


def longest(config):
    return config.max_position_embeddings - (config.pad_token_id + 1 if "roberta" in config.model_type else 0)


def padded(rows, pad):
    length = max(map(len, rows))
    ids = np.full((len(rows), length), pad, dtype=np.int64)
    mask = np.zeros_like(ids)
    for i, row in enumerate(rows):
        ids[i, : len(row)] = row
        mask[i, : len(row)] = 1
    return ids, mask


def batches(config, rows_file):
    if rows_file:
        rows = [json.loads(line) for line in open(rows_file, encoding="utf-8")]
        return [padded(rows[i : i + 16], config.pad_token_id) for i in range(0, len(rows), 16)]
    random = np.random.default_rng(0)
    known = [id for id in range(config.vocab_size) if id != config.pad_token_id]
    shapes = {(rows, min(length, longest(config))) for rows, length in SHAPES}
    made = []
    for rows, length in sorted(shapes):
        lengths = [length] + [int(random.integers(1, length + 1)) for _ in range(rows - 1)]
        made.append(padded([random.choice(known, n).tolist() for n in lengths], config.pad_token_id))
    return made


def timed(run, rows, steps=10):
    run()
    times = []
    for _ in range(steps):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return round(rows / statistics.median(times), 1)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("onnx", nargs="+")
    parser.add_argument("--tolerance", type=float, default=1e-4)
    parser.add_argument("--rows")
    parser.add_argument("--time", metavar="ROWSxLENGTH")
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    model = AutoModelForSequenceClassification.from_pretrained(args.model).eval().float()
    data = batches(model.config, args.rows)

    def by_transformers(ids, mask):
        with torch.no_grad():
            return model(input_ids=torch.tensor(ids), attention_mask=torch.tensor(mask)).logits.numpy()

    expected = [by_transformers(*batch) for batch in data]
    failed = False
    for folder in args.onnx:
        path = os.path.join(folder, "model.onnx")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = args.threads
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])

        def by_runtime(ids, mask):
            return session.run(["logits"], {"input_ids": ids, "attention_mask": mask})[0]

        logits = [by_runtime(*batch) for batch in data]
        difference = max(float(np.abs(a - b).max()) for a, b in zip(expected, logits))
        changed = sum(int((a.argmax(1) != b.argmax(1)).sum()) for a, b in zip(expected, logits))
        files = [name for name in os.listdir(folder) if name.startswith("model.onnx")]
        line = {
            "onnx": folder, "family": model.config.model_type, "rows": sum(len(a) for a in expected),
            "largest_difference": difference, "other_labels": changed,
            "bytes": sum(os.path.getsize(os.path.join(folder, name)) for name in files),
        }
        if args.time:
            rows, length = map(int, args.time.split("x"))
            ids, mask = padded(np.random.default_rng(0).integers(5, 400, (rows, length)).tolist(), 0)
            line["samples_per_s"] = timed(lambda: by_runtime(ids, mask), rows)
            line["torch_samples_per_s"] = timed(lambda: by_transformers(ids, mask), rows)
        failed |= not difference <= args.tolerance
        print(json.dumps(line), flush=True)
    if failed:
        sys.exit(f"logits differ by more than {args.tolerance}")


if __name__ == "__main__":
    main()
