#!/usr/bin/env python3
"""Compare one epoch over 2,000 rows of the COVID-19 train file with the small RoBERTa of `covid_cpu.toml`: `pipe`, bucketed,
and the Hugging Face Trainer with its padding to 200. Same rows, tokenizer, model sizes, batch size, optimizer and schedule.

    cargo build --release
    python scripts/compare/epoch.py CORONA_NLP_TRAIN.csv[.gz] [--rows 2000] [--rounds 3]

The interpreter needs torch, transformers and accelerate. Both sides report rows per second of the training loop only.
"""
import argparse, csv, gzip, json, os, pathlib, statistics, subprocess, sys, tempfile

PIPELINE = """name = "epoch"
seed = 42
[stage.corpus]
use = "preprocess"
sources = [{ path = "rows.csv", format = "covid19" }]
validation = 0.0
[stage.tokens]
use = "tokenize@200"
in.corpus = "corpus"
learn = 8000
[stage.trained]
use = "train"
in.tokens = "tokens"
base = "small-roberta"
epochs = 1
batch-size = 32
learning-rate = 1e-3
weight-decay = 0.01
"""


def prepare(source, rows, folder):
    opened = gzip.open if source.endswith(".gz") else open
    with opened(source, "rt", encoding="latin-1", newline="") as file:
        reader = csv.reader(file)
        kept = [next(reader)] + [row for row, _ in zip(reader, range(rows))]
    with open(folder / "rows.csv", "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(kept)
    (folder / "cache").mkdir()
    (folder / "epoch.toml").write_text(PIPELINE)
    (folder / "small-roberta").symlink_to(pathlib.Path("models/small-roberta").resolve())


def pipe(binary, folder, *arguments):
    done = subprocess.run([binary, *arguments], cwd=folder, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"pipe {' '.join(arguments)} failed:\n{done.stderr}")
    return done.stdout


def ours(binary, folder):
    pipe(binary, folder, "run", "epoch.toml", "--device", "cpu", "--force", "trained")
    found = json.loads(pipe(binary, folder, "metrics", "epoch.toml", "--json"))
    return next(m["value"] for m in found["metrics"] if (m["stage"], m["name"]) == ("trained", "samples-per-second"))


def theirs(binary, folder):
    import pyarrow.parquet as parquet, torch
    from transformers import AutoConfig, AutoModelForSequenceClassification, PreTrainedTokenizerFast, Trainer, TrainingArguments

    corpus = pathlib.Path(pipe(binary, folder, "cache", "path", "epoch.toml", "corpus").strip())
    tokens = pathlib.Path(pipe(binary, folder, "cache", "path", "epoch.toml", "tokens").strip())
    table = parquet.read_table(corpus / "train.parquet")
    tokenizer = PreTrainedTokenizerFast(tokenizer_file=str(tokens / "tokenizer.json"), pad_token="<pad>")
    encoded = tokenizer(table["text"].to_pylist(), padding="max_length", truncation=True, max_length=200)
    labels = table["label"].to_pylist()
    rows = [{"input_ids": torch.tensor(i), "attention_mask": torch.tensor(m), "labels": torch.tensor(l)}
            for i, m, l in zip(encoded["input_ids"], encoded["attention_mask"], labels)]
    torch.manual_seed(0)
    torch.set_num_threads(os.cpu_count())
    config = AutoConfig.from_pretrained("models/small-roberta", num_labels=5)
    options = TrainingArguments(output_dir=str(folder / "trainer"), num_train_epochs=1, per_device_train_batch_size=32,
                                learning_rate=1e-3, weight_decay=0.01, save_strategy="no", report_to=[], use_cpu=True,
                                disable_tqdm=True, logging_strategy="no", dataloader_pin_memory=False)
    trainer = Trainer(AutoModelForSequenceClassification.from_config(config), options, train_dataset=rows)
    return trainer.train().metrics["train_samples_per_second"]


def main():
    p = argparse.ArgumentParser()
    p.add_argument("csv")
    p.add_argument("--rows", type=int, default=2000)
    p.add_argument("--rounds", type=int, default=3)
    a = p.parse_intermixed_args()
    binary = str(pathlib.Path("target/release/pipe").resolve())
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        prepare(a.csv, a.rows, folder)
        rates = [(ours(binary, folder), theirs(binary, folder)) for _ in range(a.rounds)]
    mine, peer = zip(*rates)
    print(f"rows/s: pipe {[round(x) for x in mine]}, Trainer {[round(x) for x in peer]}; times as fast: "
          f"median {statistics.median(mine) / statistics.median(peer):.1f}, best {max(mine) / max(peer):.1f}")


if __name__ == "__main__":
    main()
