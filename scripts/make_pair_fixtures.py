#!/usr/bin/env python3
"""Make tests/fixtures/tokenizers/pairs.jsonl: ids of random pairs of texts, cut to several lengths, from transformers.

    pip install transformers sentencepiece protobuf
    python scripts/make_pair_fixtures.py [--pairs 30]

Each line has the tokenizer's folder and class, the two texts, `max_length`, `truncation_side`, and what
`tokenizer(first, second, truncation=True, max_length=…)` gives: `ids`, and `types` (`token_type_ids`), or null if the class gives
none or if all are 0. `truncation=True` is `longest_first`. Texts are words of the sample without letters that
transformers' classes and sentencepiece treat differently; for these see `make_tokenizer_fixtures.py`. Equal input gives
equal bytes.
"""
import argparse
import csv
import json
import os
import random
import re

from transformers import BertTokenizer, DebertaV2Tokenizer, DistilBertTokenizer, RobertaTokenizer, XLMRobertaTokenizer

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
FIXTURES = os.path.join(ROOT, "tests", "fixtures", "tokenizers")
TOKENIZERS = [("bert", BertTokenizer), ("bert", DistilBertTokenizer), ("deberta", DebertaV2Tokenizer), ("xlmr", XLMRobertaTokenizer),
              ("tiny-roberta", RobertaTokenizer)]
LENGTHS = [6, 7, 8, 11, 16, 25, 64]


def words():
    with open(os.path.join(ROOT, "data", "sample", "train.csv"), encoding="utf-8", errors="ignore", newline="") as file:
        text = " ".join(row["OriginalTweet"] for row in csv.DictReader(file))
    return sorted(set(re.findall(r"[a-z]+", text)))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=30)
    parser.add_argument("--out", default=os.path.join(FIXTURES, "pairs.jsonl"))
    args = parser.parse_args()
    rng, known = random.Random(5), words()
    text = lambda: " ".join(rng.choices(known, k=rng.choice([0, 1, 1, 2, 3, 5, 8, 13, 21])))
    with open(args.out, "w", encoding="utf-8", newline="\n") as out:
        for folder, kind in TOKENIZERS:
            place = os.path.join(ROOT, "models", folder) if folder == "tiny-roberta" else os.path.join(FIXTURES, folder)
            for side in ["right", "left"]:
                tokenizer = kind.from_pretrained(place, truncation_side=side)
                for _ in range(args.pairs if side == "right" else args.pairs // 3):
                    first, second, length = text(), text(), rng.choice(LENGTHS)
                    if not second:
                        continue  # A call with one pair takes it for a single text, a call with a list does not.
                    row = tokenizer(first, second, truncation=True, max_length=length)
                    if kind.__name__ == "DebertaV2Tokenizer" and tokenizer.unk_token_id in row["input_ids"]:
                        continue  # transformers takes some letters of this small vocabulary for unknown; that is not about pairs.
                    types = row.get("token_type_ids")
                    line = dict(folder=folder, kind=kind.__name__, side=side, max_length=length, first=first, second=second,
                                ids=row["input_ids"], types=types if types and any(types) else None)
                    out.write(json.dumps(line) + "\n")


if __name__ == "__main__":
    main()
