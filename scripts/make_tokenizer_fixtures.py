#!/usr/bin/env python3
"""Make tests/fixtures/tokenizers: tiny tokenizers in three layouts, with the ids of the Python libraries.

    pip install transformers sentencepiece protobuf
    python scripts/make_tokenizer_fixtures.py

Each folder has a `golden.jsonl` with `text` and `ids`. The ids of `bert` and `bert-cased` come from transformers'
`BertTokenizer`, those of `deberta` from sentencepiece with [CLS] and [SEP] added, and those of `xlmr` from sentencepiece,
renumbered as fairseq does. transformers' `XLMRobertaTokenizer` agrees except that it loses an accent after a replaced
character and splits at U+2028. `pipe` must refuse `bpe`. Equal input gives equal bytes.
"""
import csv
import io
import json
import os
import re
import tempfile
from collections import Counter

import sentencepiece
from sentencepiece import sentencepiece_model_pb2
from transformers import BertTokenizer

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
FIXTURES = os.path.join(ROOT, "tests", "fixtures", "tokenizers")

TEXTS = [
    "", " ", "a", "  Two  spaces ", "tabs\tand\nnew\r\nlines\n\n", "Don't PANIC: we'll be fine!!", "@user http://t.co/aB3 #COVID19",
    "£5 – “so” bad… 1st½ 12,5 %", "naïve café Ωmega ÅNGSTRÖM", "e\u0301 \u0301 a\u0301\u0323 x\u0301\u0302\u0303",
    "…\u0301 ﬁne ﬁ\u0301 ™", "日本語 is fine 中文", "👍🏽 ok 👩‍👩‍👧 🇬🇧", "a\u00a0b\u00a0 c", "zero\u200bwidth \u200b", "\ufeffbom",
    "\u2028 x\u0085y", "control\x01\x7f chars", "▁under ▁ ▁▁", "ⅷ ² ₂ ℃ ①", "\ufffd \ud7a3 \U0010fffd", "İstanbul ıI ß ẞ ΣΑΣ",
    "[CLS inside] [cls] [ MASK ]", "supermarket shelves are empty, shoppers stock up on toilet paper", "loooooooooooool", "x" * 101 + " " + "y" * 100,
    "NOOOOOOOOOOOOOOOOOOOOOOO!", ":) :)) <url><url> a:)b", "ﷺ ㍿ ½", "ＦＵＬＬ ｗｉｄｔｈ", "\u3000ideographic\u3000space", "a\u0338\u0301",
    "-_-;)|~^`$%&*+=<>{}\\/", "١٢٣ ४५६", "mixed日本text", "soft\u00adhyphen", "word\u0300s \u00e9\u0327", "ǅ ǆ Ǆ",
]

# Source, target: the replacements of the tiny models; some rules are the beginning of longer ones.
RULES = [
    ("…", "..."), ("ﬁ", "fi"), ("™", "TM"), ("\u00a0", " "), ("\u200b", " "), ("\t", " "), ("\n", " "), ("\r", " "), ("\u3000", " "),
    ("a\u0301", "á"), ("e\u0301", "é"), ("a\u0301\u0323", "ạ́"), ("\x01", ""), ("\x7f", ""), ("½", "1⁄2"), ("①", "1"), ("²", "2"),
    ("“", '"'), ("”", '"'), ("ﷺ", "صلى الله"), ("Ｆ", "F"), ("Ｕ", "U"), ("Ｌ", "L"), ("\ufeff", ""), ("▁", " "),
]


def sample():
    with open(os.path.join(ROOT, "data", "sample", "train.csv"), encoding="utf-8", errors="ignore", newline="") as file:
        return [row["OriginalTweet"] for row in csv.DictReader(file)]


def write(folder, name, text):
    os.makedirs(os.path.join(FIXTURES, folder), exist_ok=True)
    with open(os.path.join(FIXTURES, folder, name), "w", encoding="utf-8", newline="\n") as file:
        file.write(text)


def golden(folder, encode):
    rows = [json.dumps({"text": text, "ids": encode(text)}) for text in TEXTS]
    write(folder, "golden.jsonl", "\n".join(rows) + "\n")


def bert(folder, config):
    lower = config.get("do_lower_case", True)
    words = Counter()
    for text in sample():
        words.update(re.findall(r"\w+", text.lower() if lower else text))
    letters = sorted({letter for word in words for letter in word if letter.isascii()} | set("é日本ωσ"))
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *'!"#$%&()*+,-./:;<=>?@[]^_`{|}~£–…', "'", *letters]
    tokens += [f"##{letter}" for letter in letters] + ["##ing", "##ed", "##s", "##er", "cls"]
    tokens += [word for word, _ in sorted(words.items(), key=lambda item: (-item[1], item[0]))[:300]]
    write(folder, "vocab.txt", "\n".join(dict.fromkeys(tokens)) + "\n")
    if config:
        write(folder, "tokenizer_config.json", json.dumps(config, indent=2) + "\n")
    tokenizer = BertTokenizer.from_pretrained(os.path.join(FIXTURES, folder))
    golden(folder, lambda text: tokenizer(text)["input_ids"])


def train(folder, name, **options):
    with tempfile.NamedTemporaryFile("w", suffix=".tsv", encoding="utf-8") as rules:
        code = lambda text: " ".join(f"{ord(letter):X}" for letter in text)
        rules.writelines(f"{code(source)}\t{code(target)}\n" for source, target in RULES)
        rules.flush()
        model = io.BytesIO()
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(sample()), model_writer=model, model_type=options.pop("model_type", "unigram"),
            normalization_rule_tsv=rules.name, num_threads=1, minloglevel=2, **options,
        )
    proto = sentencepiece_model_pb2.ModelProto.FromString(model.getvalue())
    proto.normalizer_spec.ClearField("normalization_rule_tsv")
    path = os.path.join(FIXTURES, folder, name)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as file:
        file.write(proto.SerializeToString(deterministic=True))
    return sentencepiece.SentencePieceProcessor(model_file=path)


def main():
    bert("bert", {})
    bert("bert-cased", {"do_lower_case": False, "strip_accents": True, "tokenize_chinese_chars": False})
    special = dict(pad_id=0, bos_id=1, eos_id=2, unk_id=3, pad_piece="[PAD]", bos_piece="[CLS]", eos_piece="[SEP]",
                   unk_piece="[UNK]")
    model = train("deberta", "spm.model", vocab_size=600, byte_fallback=True, character_coverage=0.98,
                  user_defined_symbols=["<url>", ":)"], **special)
    write("deberta", "added_tokens.json", json.dumps({"[MASK]": 600}) + "\n")
    golden("deberta", lambda text: [1, *model.encode(text), 2])
    model = train("xlmr", "sentencepiece.bpe.model", vocab_size=300)
    fairseq = lambda piece: 3 if piece == 0 else piece + 1
    golden("xlmr", lambda text: [0, *map(fairseq, model.encode(text)), 2])
    train("bpe", "spm.model", model_type="bpe", vocab_size=200, **special)


if __name__ == "__main__":
    main()
