#!/usr/bin/env python3
"""Compare the ids of pipe with those of transformers' AutoTokenizer, for settings of tokenizer_config.json on real tweets.

    pip install transformers sentencepiece protobuf
    cargo build --release --example encode
    python scripts/check_tokenizers.py SHARED_DATA [--texts 3000] [--target TARGET_DIR]

SHARED_DATA holds `tokenizers/{roberta,deberta-v3,bert-base-uncased}` and the tweets of `covid19-tweets` and
`tweeteval-sentiment`. Each case is a folder with files that agree or contradict each other. The script counts the texts whose
ids differ

- in the folder itself, between pipe and AutoTokenizer (where transformers 5 makes another pipeline than the file, this is
  reported and not an error);
- in the folder as pipe saves it, cut at the stored `model_max_length`, between pipe and AutoTokenizer (always an error, except
  for DeBERTa's near-ties in long runs of one letter, see docs/models.md).
"""
import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "compare"))
from tokens import tweets  # noqa: E402

MODEL_TYPES = {"roberta": "roberta", "deberta-v3": "deberta-v2", "bert-base-uncased": "bert"}
ADDED = {"content": "covid", "single_word": False, "lstrip": False, "rstrip": False, "normalized": True, "special": False}
TRUNCATION = {"direction": "Left", "max_length": 16, "strategy": "LongestFirst", "stride": 0}
PADDING = {"strategy": {"Fixed": 16}, "direction": "Right", "pad_to_multiple_of": None, "pad_id": 0, "pad_type_id": 0,
           "pad_token": "[PAD]"}

# Name, base, whether pipe first writes the tokenizer.json, changes of tokenizer_config.json, changes of tokenizer.json,
# and whether the folder itself must give the same ids.
CASES = [
    ("bert as it is", "bert-base-uncased", False, {}, {}, True),
    ("bert with tokenizer.json", "bert-base-uncased", True, {}, {}, True),
    ("bert cased", "bert-base-uncased", False, {"do_lower_case": False}, {}, True),
    ("bert told not to lower case", "bert-base-uncased", True, {"do_lower_case": False}, {}, True),
    ("bert with accents", "bert-base-uncased", True, {"strip_accents": False}, {}, True),
    ("bert without Chinese", "bert-base-uncased", True, {"tokenize_chinese_chars": False}, {}, True),
    ("bert fast class", "bert-base-uncased", True, {"tokenizer_class": "BertTokenizerFast", "do_lower_case": False}, {}, True),
    ("distilbert", "bert-base-uncased", True, {"tokenizer_class": "DistilBertTokenizer"}, {}, True),
    ("bert as the plain class", "bert-base-uncased", True,
     {"tokenizer_class": "PreTrainedTokenizerFast", "do_lower_case": False}, {}, True),
    ("bert with an added token", "bert-base-uncased", True, {"added_tokens_decoder": {"30522": ADDED}}, {}, True),
    ("bert cut on the left", "bert-base-uncased", True, {"truncation_side": "left"}, {}, True),
    ("bert with stored truncation and padding", "bert-base-uncased", True, {},
     {"truncation": TRUNCATION, "padding": PADDING}, True),
    ("bert splitting special tokens", "bert-base-uncased", True, {"split_special_tokens": True}, {}, True),
    ("roberta as it is", "roberta", False, {}, {}, True),
    ("roberta with a space in front", "roberta", False, {"add_prefix_space": True}, {}, True),
    ("roberta as bart", "roberta", False, {"tokenizer_class": "BartTokenizer"}, {}, True),
    ("roberta cut on the left", "roberta", False, {"truncation_side": "left"}, {}, True),
    ("roberta with stored truncation", "roberta", False, {}, {"truncation": TRUNCATION}, True),
    ("deberta from spm.model", "deberta-v3", False, {}, {}, False),
    ("deberta with the class of transformers", "deberta-v3", True, {"tokenizer_class": "DebertaV2Tokenizer"}, {}, False),
    ("deberta in lower case", "deberta-v3", False, {"do_lower_case": True}, {}, False),
    ("deberta cut on the left", "deberta-v3", False, {"truncation_side": "left"}, {}, False),
]
LENGTH = 24


def change(path, changes):
    if not changes:
        return
    fields = {}
    if os.path.exists(path):
        with open(path, encoding="utf-8") as file:
            fields = json.load(file)
    fields.update(changes)
    with open(path, "w", encoding="utf-8") as file:
        json.dump(fields, file, ensure_ascii=False)


def main():
    parser = argparse.ArgumentParser(formatter_class=argparse.RawDescriptionHelpFormatter, description=__doc__)
    parser.add_argument("data")
    parser.add_argument("--texts", type=int, default=3000)
    parser.add_argument("--target", default=os.environ.get("CARGO_TARGET_DIR", "target"))
    args = parser.parse_args()
    import transformers
    from transformers import AutoTokenizer
    transformers.logging.set_verbosity_error()
    work = tempfile.mkdtemp()
    # Both sets of tweets take part, and texts with special tokens and added tokens.
    every = tweets(args.data, 1_000_000)
    texts = every[:: max(1, len(every) // args.texts)]
    texts += ["PANIC covid Covid [SEP] </s> <mask> [MASK] café 日本語", "", " ", "[UNK] [UNK]"]
    jsonl = f"{work}/texts.jsonl"
    with open(jsonl, "w", encoding="utf-8") as file:
        file.writelines(json.dumps({"text": text}) + "\n" for text in texts)

    def pipe(folder, *more):
        out = subprocess.run([f"{args.target}/release/examples/encode", folder, jsonl, *more], capture_output=True)
        if out.returncode:
            sys.exit(f"{folder}: {out.stderr.decode()}")
        return [json.loads(line) for line in out.stdout.splitlines()], out.stderr.decode().splitlines()

    def differ(ours, theirs, base):
        wrong = [at for at, (a, b) in enumerate(zip(ours, theirs, strict=True)) if a != b]
        if base == "deberta-v3":
            wrong = [at for at in wrong if not re.search(r"(.)\1{7}", texts[at])]
        for at in wrong[:2]:
            print("  ", json.dumps(texts[at]), ours[at], theirs[at])
        return len(wrong)

    failed = False
    for at, (name, base, first, config, whole, must) in enumerate(CASES):
        source, saved = f"{work}/{at}", f"{work}/{at}-saved"
        if first:
            pipe(f"{args.data}/tokenizers/{base}", "--save", source)
        else:
            shutil.copytree(f"{args.data}/tokenizers/{base}", source, copy_function=shutil.copyfile)
        with open(f"{source}/config.json", "w") as file:
            json.dump({"model_type": MODEL_TYPES[base]}, file)
        change(f"{source}/tokenizer_config.json", config)
        change(f"{source}/tokenizer.json", whole)
        ours, _ = pipe(source)
        theirs = AutoTokenizer.from_pretrained(source)(texts, truncation=False, padding=False)["input_ids"]
        in_folder = differ(ours, theirs, base) if must else sum(a != b for a, b in zip(ours, theirs, strict=True))
        ours, remarks = pipe(source, "--save", saved, str(LENGTH))
        shutil.copy(f"{source}/config.json", saved)
        auto = AutoTokenizer.from_pretrained(saved)
        as_saved = differ(ours, auto(texts, truncation=True)["input_ids"], base)
        failed |= bool(as_saved or must and in_folder)
        print(json.dumps({"case": name, "texts": len(texts), "differ_in_the_folder": in_folder,
                          "differ_as_saved": as_saved, "class": type(auto).__name__, "told": remarks}), flush=True)
    shutil.rmtree(work)
    if failed:
        sys.exit("ids differ")


if __name__ == "__main__":
    main()
