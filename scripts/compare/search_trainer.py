#!/usr/bin/env python3
"""Search with Optuna on the Hugging Face Trainer what `pipelines/covid_search_cpu.toml` searches: the same rows, tokens, model
sizes, space, trials and budget of epochs. Prints what trial 0 and the best trial reach on validation and test, and the time.

    pipe run pipelines/covid_search_cpu.toml
    pip install torch transformers accelerate optuna==5.0.0 pyarrow scikit-learn
    python scripts/compare/search_trainer.py "$(pipe cache path pipelines/covid_search_cpu.toml tokens)" [--trials 15]

Both start with the file's own values. Optuna has its defaults (TPE, 10 random trials first) and one trial at a time.
"""
import argparse
import json
import pathlib
import tempfile
import time
import warnings

import numpy as np
import optuna
import pyarrow as pa
import torch
from sklearn.metrics import accuracy_score, f1_score
from transformers import AutoConfig, AutoModelForSequenceClassification, Trainer, TrainingArguments, set_seed

warnings.filterwarnings("ignore")
FIRST = {"learning-rate": 1e-3, "batch-size": 32, "weight-decay": 0.0, "schedule": "linear"}
SCHEDULES = {"linear": "linear", "cosine": "cosine", "cosine-with-restarts": "cosine_with_restarts"}


def rows(folder, split):
    with pa.memory_map(str(folder / f"{split}.arrow")) as file:
        try:
            table = pa.ipc.open_file(file).read_all()
        except pa.ArrowInvalid:
            table = pa.ipc.open_stream(file).read_all()
    return [
        {"input_ids": ids, "attention_mask": [1] * len(ids), "labels": int(label)}
        for ids, label in zip(table["input_ids"].to_pylist(), table["label"].to_pylist())
    ]


def padded(batch, pad):
    longest = max(len(row["input_ids"]) for row in batch)
    fill = lambda key, value: torch.tensor([row[key] + [value] * (longest - len(row[key])) for row in batch])
    return {
        "input_ids": fill("input_ids", pad),
        "attention_mask": fill("attention_mask", 0),
        "labels": torch.tensor([row["labels"] for row in batch]),
    }


def judged(out):
    predicted = np.asarray(out.predictions).argmax(-1)
    return {
        "accuracy": float(accuracy_score(out.label_ids, predicted)),
        "macro_f1": float(f1_score(out.label_ids, predicted, average="macro")),
    }


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("tokens", type=pathlib.Path)
    parser.add_argument("--base", default="models/small-roberta")
    parser.add_argument("--trials", type=int, default=15)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    data = {split: rows(options.tokens, split) for split in ("train", "validation", "test")}
    labels = max(row["labels"] for row in data["train"]) + 1
    config = AutoConfig.from_pretrained(options.base, num_labels=labels)
    kept = {}

    def objective(trial):
        values = {
            "learning-rate": trial.suggest_float("learning-rate", 3e-4, 5e-3, log=True),
            "batch-size": trial.suggest_categorical("batch-size", [8, 16, 32]),
            "weight-decay": trial.suggest_float("weight-decay", 0.0, 0.3),
            "schedule": trial.suggest_categorical("schedule", list(SCHEDULES)),
        }
        set_seed(42)
        with tempfile.TemporaryDirectory() as folder:
            trainer = Trainer(
                model=AutoModelForSequenceClassification.from_config(config),
                args=TrainingArguments(
                    folder, num_train_epochs=options.epochs, per_device_train_batch_size=values["batch-size"],
                    per_device_eval_batch_size=64, learning_rate=values["learning-rate"], weight_decay=values["weight-decay"],
                    lr_scheduler_type=SCHEDULES[values["schedule"]], warmup_ratio=0.1, train_sampling_strategy="group_by_length",
                    eval_strategy="epoch", save_strategy="epoch", load_best_model_at_end=True, metric_for_best_model="macro_f1",
                    greater_is_better=True, save_total_limit=1, report_to=[], disable_tqdm=True, use_cpu=True, seed=42,
                    dataloader_pin_memory=False,
                ),
                train_dataset=data["train"], eval_dataset=data["validation"],
                data_collator=lambda batch: padded(batch, config.pad_token_id),
                compute_metrics=judged,
            )
            trainer.train()
            reached = judged(trainer.predict(data["validation"]))
            test = judged(trainer.predict(data["test"]))
        kept[trial.number] = {"values": values, "validation": reached, "test": test}
        print(json.dumps({"trial": trial.number, **kept[trial.number]}), flush=True)
        return reached["macro_f1"]

    start, cpu = time.monotonic(), time.process_time()
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=42))
    study.enqueue_trial(FIRST)
    study.optimize(objective, n_trials=options.trials)
    best = kept[study.best_trial.number]
    print(json.dumps({
        "first": kept[0], "best": {"trial": study.best_trial.number, **best},
        "seconds": round(time.monotonic() - start), "processor_seconds": round(time.process_time() - cpu),
    }, indent=1))


if __name__ == "__main__":
    main()
