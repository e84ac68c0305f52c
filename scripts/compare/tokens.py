#!/usr/bin/env python3
"""Compare this program's token ids with those of the Python libraries, text by text, and the time that each takes.

    pip install tokenizers transformers sentencepiece protobuf
    python scripts/compare/tokens.py SHARED_DATA [--texts 40000] [--target TARGET_DIR]

SHARED_DATA holds `tokenizers/{roberta,deberta-v3,bert-base-uncased}` and the tweets of `covid19-tweets` and
`tweeteval-sentiment`. For each tokenizer it counts the texts whose ids differ from

- the library itself: `tokenizers` from the folder's tokenizer.json, `sentencepiece` from spm.model, `BertTokenizer`;
- the folder as pipe saves it: `tokenizers.Tokenizer.from_file`, and `AutoTokenizer` of transformers.

The exit code is 1 if a text's ids differ from those of the library itself.
"""
import argparse
import csv
import gzip
import html
import io
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time

os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")


def tweets(data, count):
    """Distinct tweets exactly as in the files: not cleaned, with line breaks and wrong encodings."""
    with gzip.open(f"{data}/covid19-tweets/Corona_NLP_train.csv.gz") as file:
        rows = list(csv.DictReader(io.StringIO(file.read().decode("latin-1"), newline="")))
    covid = [row["OriginalTweet"] for row in rows]
    with open(f"{data}/tweeteval-sentiment/test_text.txt", encoding="utf-8") as file:
        tweeteval = file.read().split("\n")[:-1]
    with open(f"{data}/tweeteval-sentiment/val_text.txt", encoding="utf-8") as file:
        tweeteval += file.read().split("\n")[:-1]
    # The second set has the emoji; both sets take part regardless of the count.
    texts = dict.fromkeys(tweeteval + [html.unescape(text) for text in tweeteval[:500]] + covid)
    return list(texts)[:count]


def timed(encode, texts):
    start = time.perf_counter()
    ids = encode(texts)
    return ids, len(texts) / (time.perf_counter() - start)


def library(name, folder):
    """The Python library that defines the right ids, as a function of texts."""
    if name == "deberta-v3":
        import sentencepiece
        model = sentencepiece.SentencePieceProcessor(model_file=f"{folder}/spm.model")
        return lambda texts: [[1, *ids, 2] for ids in model.encode(texts, num_threads=os.cpu_count())]
    if name == "roberta":
        import tokenizers
        whole = tokenizers.Tokenizer.from_file(f"{folder}/tokenizer.json")
        whole.no_truncation()
        whole.no_padding()
        return lambda texts: [row.ids for row in whole.encode_batch(texts)]
    from transformers import BertTokenizer
    bert = BertTokenizer.from_pretrained(folder)
    return lambda texts: bert(texts)["input_ids"]


def main():
    parser = argparse.ArgumentParser(formatter_class=argparse.RawDescriptionHelpFormatter, description=__doc__)
    parser.add_argument("data")
    parser.add_argument("--texts", type=int, default=40000)
    parser.add_argument("--target", default=os.environ.get("CARGO_TARGET_DIR", "target"))
    args = parser.parse_args()
    program = f"{args.target}/release/examples/encode"
    texts = tweets(args.data, args.texts)
    work = tempfile.mkdtemp()
    jsonl = f"{work}/texts.jsonl"
    with open(jsonl, "w", encoding="utf-8") as file:
        file.writelines(json.dumps({"text": text}) + "\n" for text in texts)
    wrong = 0
    for name in ["roberta", "deberta-v3", "bert-base-uncased"]:
        folder, saved = f"{args.data}/tokenizers/{name}", f"{work}/{name}"
        lines = subprocess.run([program, folder, jsonl, "--save", saved], check=True, capture_output=True).stdout
        ours = [json.loads(line) for line in lines.splitlines()]
        speed = [json.loads(subprocess.run([program, folder, jsonl, "--time"], check=True, capture_output=True).stdout)
                 for _ in range(3)]
        encode = library(name, folder)
        theirs, _ = timed(encode, texts)
        rate = max(timed(encode, texts)[1] for _ in range(3))
        best = max(run["rows_per_s"] for run in speed)
        different = [at for at, (a, b) in enumerate(zip(ours, theirs, strict=True)) if a != b]
        wrong += len(different)
        print(json.dumps({"tokenizer": name, "texts": len(texts), "differ_from_library": len(different),
                          "rows_per_s": best, "library_rows_per_s": round(rate), "ratio": round(best / rate, 2),
                          "open_s": round(min(run["open_s"] for run in speed), 3)}), flush=True)
        for at in different[:3]:
            print("  ", json.dumps(texts[at]), ours[at], theirs[at])
        # A model folder has the config with which `AutoTokenizer` finds the class.
        if os.path.exists(f"{folder}/config.json"):
            shutil.copy(f"{folder}/config.json", saved)
        else:
            with open(f"{saved}/config.json", "w") as file:
                json.dump({"model_type": "bert"}, file)
        saved_folder(name, saved, texts, ours)
    sys.exit(1 if wrong else 0)


def saved_folder(name, saved, texts, ours):
    """Number of texts whose ids differ if read from the folder that pipe saved."""
    import tokenizers
    from transformers import AutoTokenizer
    whole = tokenizers.Tokenizer.from_file(f"{saved}/tokenizer.json")
    whole.no_truncation()
    auto = AutoTokenizer.from_pretrained(saved)
    ways = {"Tokenizer.from_file": lambda texts: [row.ids for row in whole.encode_batch(texts)],
            f"AutoTokenizer ({type(auto).__name__})": lambda texts: auto(texts)["input_ids"]}
    for way, encode in ways.items():
        theirs, rate = timed(encode, texts)
        different = [at for at, (a, b) in enumerate(zip(ours, theirs, strict=True)) if a != b]
        print(json.dumps({"tokenizer": name, "saved_folder_by": way, "differ": len(different),
                          "rows_per_s": round(rate)}), flush=True)
        for at in different[:3]:
            print("  ", json.dumps(texts[at]), ours[at], theirs[at])


if __name__ == "__main__":
    main()
