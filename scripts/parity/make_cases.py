#!/usr/bin/env python3
"""Write small random classifiers of every family with what transformers computes from them.

    pip install torch transformers peft safetensors
    python scripts/parity/make_cases.py tests/fixtures/parity [--seed 7] [--random 12] [--only NAME…]

Each case is a folder in the Hugging Face layout with an expected.json: a batch (input_ids, attention_mask, labels), and in
f32 and without dropout the logits, the loss, the L2 norm of each parameter's gradient, and the losses and final logits of
five AdamW steps (lr 1e-3, weight decay 0.01 on all but biases and LayerNorm, gradients clipped to a norm of 1).

The lora cases hold a base model and an adapter that peft saved, with the logits of both together and of the merged model, and
the gradient norms of the trained parameters.

The named cases are part of the repository; `--random N` writes N more of random shapes, for a longer check:

    python scripts/parity/make_cases.py /tmp/cases --random 40
    PIPE_PARITY=/tmp/cases cargo test --release --lib parity

`--folders` takes models that were made elsewhere, such as pruned ones, and fails if transformers cannot load one unchanged;
tests/fixtures/pruned holds one of each family, without dropout (`pipe cache path FILE STAGE` prints a stage's folder):

    python scripts/parity/make_cases.py tests/fixtures/pruned --folders FOLDER…
"""
import argparse
import json
import os
import random
import shutil

import torch
from transformers import (AutoModelForSequenceClassification, BertConfig, BertForSequenceClassification, DebertaV2Config, DebertaV2ForSequenceClassification,
                          DistilBertConfig, DistilBertForSequenceClassification, RobertaConfig, RobertaForSequenceClassification, XLMRobertaConfig,
                          XLMRobertaForSequenceClassification)

CLASSES = {
    "roberta": (RobertaConfig, RobertaForSequenceClassification, 1),
    "xlm-roberta": (XLMRobertaConfig, XLMRobertaForSequenceClassification, 1),
    "bert": (BertConfig, BertForSequenceClassification, 0),
    "distilbert": (DistilBertConfig, DistilBertForSequenceClassification, 0),
    "deberta": (DebertaV2Config, DebertaV2ForSequenceClassification, 0),
}
SMALL = dict(vocab_size=60, hidden_size=24, num_hidden_layers=2, num_attention_heads=3, intermediate_size=40, num_labels=3,
             hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
V3 = dict(relative_attention=True, max_relative_positions=-1, position_buckets=16, norm_rel_ebd="layer_norm", share_att_key=True,
          pos_att_type=["p2c", "c2p"], position_biased_input=False, type_vocab_size=0, max_position_embeddings=40)

# name: (family, fields, rows, longest row, how)
CASES = {
    "roberta-one-row": ("roberta", dict(max_position_embeddings=34, type_vocab_size=1, hidden_act="gelu_new"), 1, 7, {}),
    "roberta-longest": ("roberta", dict(max_position_embeddings=34, type_vocab_size=1, hidden_act="relu"), 3, 32, {}),
    "roberta-empty-row": ("roberta", dict(max_position_embeddings=34, type_vocab_size=2), 3, 9, dict(empty=True)),
    "roberta-sharded": ("roberta", dict(max_position_embeddings=34, type_vocab_size=1), 2, 11, dict(file="sharded")),
    "roberta-bin": ("roberta", dict(max_position_embeddings=34, type_vocab_size=1), 2, 11, dict(file="bin")),
    "roberta-f16": ("roberta", dict(max_position_embeddings=34, type_vocab_size=1), 2, 11, dict(dtype="float16")),
    "xlm-roberta": ("xlm-roberta", dict(max_position_embeddings=34, type_vocab_size=1), 3, 13, {}),
    "bert-longest": ("bert", dict(max_position_embeddings=21), 3, 21, {}),
    "bert-empty-row": ("bert", dict(max_position_embeddings=32, hidden_act="silu"), 3, 9, dict(empty=True)),
    "bert-bf16-bin": ("bert", dict(max_position_embeddings=32), 2, 10, dict(file="bin", dtype="bfloat16")),
    "distilbert": ("distilbert", dict(max_position_embeddings=32, activation="relu", dropout=0.0, attention_dropout=0.0, seq_classif_dropout=0.0,
                                      dim=24, n_layers=2, n_heads=3, hidden_dim=40), 3, 14, {}),
    "deberta-buckets": ("deberta", V3, 3, 37, {}),
    "deberta-one-token": ("deberta", V3, 1, 3, {}),
    "deberta-empty-row": ("deberta", V3, 3, 15, dict(empty=True)),
    "deberta-own-projections": ("deberta", dict(V3, share_att_key=False, norm_rel_ebd="none"), 2, 19, {}),
    "deberta-c2p": ("deberta", dict(V3, share_att_key=False, pos_att_type=["c2p"]), 2, 19, {}),
    "deberta-p2c-clamped": ("deberta", dict(V3, pos_att_type=["p2c"], position_buckets=-1, max_relative_positions=6), 2, 19, {}),
    "deberta-conv": ("deberta", dict(V3, conv_kernel_size=3, conv_groups=2, conv_act="gelu"), 3, 17, {}),
    "deberta-absolute": ("deberta", dict(V3, relative_attention=False, position_biased_input=True, type_vocab_size=2,
                                         norm_rel_ebd="none"), 3, 12, {}),
    "deberta-v2": ("deberta", dict(V3, position_biased_input=True, pooler_hidden_act="tanh", position_buckets=-1), 2, 23, {}),
    # Rows are pairs of texts: the second half of each has token type 1, which the folder's preprocessing.json says.
    "bert-pairs": ("bert", dict(max_position_embeddings=32, type_vocab_size=2), 4, 15, dict(pairs=True)),
    "deberta-pairs": ("deberta", dict(V3, type_vocab_size=2), 3, 16, dict(pairs=True)),
}

# name: (case of the base model, options of peft's LoraConfig)
LORA = {
    "lora-bert-rslora": ("bert-longest", dict(r=3, lora_alpha=5, use_rslora=True, target_modules=["query", "dense"])),
    # Positions go through the same projections, so the adapters affect them too.
    "lora-deberta-positions": ("deberta-buckets", dict(r=2, lora_alpha=6, target_modules=["query_proj", "key_proj", "value_proj"])),
    "lora-deberta-pooler": ("deberta-conv", dict(r=2, lora_alpha=2, target_modules=["output.dense"], modules_to_save=["pooler"])),
    "lora-distilbert": ("distilbert", dict(r=2, lora_alpha=4, target_modules=["q_lin", "ffn.lin1"])),
    "lora-roberta-all": ("roberta-longest", dict(r=2, lora_alpha=4, target_modules="all-linear")),
}


def batch(generator, config, rows, width, how):
    pad = config.pad_token_id
    ids = torch.randint(5, config.vocab_size, (rows, width), generator=generator)
    mask = torch.ones((rows, width), dtype=torch.long)
    for row in range(1, rows):
        length = max(2, width - row * max(1, width // (rows + 1)))
        if how.get("empty") and row == rows - 1:
            length = 0
        ids[row, length:], mask[row, length:] = pad, 0
    labels = torch.randint(0, config.num_labels, (rows,), generator=generator)
    return ids, mask, labels, types_of_pairs(mask) if how.get("pairs") else None


def types_of_pairs(mask):
    """1 for the second half of the real tokens of each row, 0 for the rest and for padding."""
    lengths = mask.sum(1, keepdim=True)
    return (torch.arange(mask.shape[1])[None] >= lengths // 2).long() * mask


def randomise(model, generator):
    """Draw weights so large that every path matters: freshly initialised ones leave the logits near zero."""
    with torch.no_grad():
        for name, p in model.named_parameters():
            noise = torch.randn(p.shape, generator=generator)
            if "LayerNorm.weight" in name or "layer_norm.weight" in name:
                p.copy_(1 + 0.2 * noise)
            elif p.dim() == 1:
                p.copy_(0.1 * noise)
            else:
                p.copy_(noise * 0.7 / p[0].numel() ** 0.5)


def groups(model):
    # Tensors with one axis are biases and the weights of LayerNorm.
    return [dict(params=[p for p in model.parameters() if p.dim() > 1], weight_decay=0.01),
            dict(params=[p for p in model.parameters() if p.dim() == 1], weight_decay=0.0)]


def expected(model, ids, mask, labels, types=None):
    model.eval()
    more = {} if types is None else dict(token_type_ids=types)
    run = lambda: model(input_ids=ids, attention_mask=mask, labels=labels, **more)
    out = run()
    out.loss.backward()
    data = dict(input_ids=ids.tolist(), attention_mask=mask.tolist(), labels=labels.tolist(), logits=out.logits.tolist(),
                loss=out.loss.item(),
                grad_norms={n: p.grad.norm().item() for n, p in model.named_parameters() if p.grad is not None},
                **{name: values.tolist() for name, values in more.items()})
    optimizer = torch.optim.AdamW(groups(model), lr=1e-3, betas=(0.9, 0.999), eps=1e-8)
    losses = []
    for _ in range(5):
        optimizer.zero_grad()
        loss = run().loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        losses.append(loss.item())
    with torch.no_grad():
        data["train"] = dict(losses=losses, logits=run().logits.tolist())
    return data


def save(model, folder, how):
    dtype = how.get("dtype")
    stored = model.to(getattr(torch, dtype)) if dtype else model
    if how.get("file") == "bin":
        stored.config.save_pretrained(folder)
        torch.save(stored.state_dict(), os.path.join(folder, "pytorch_model.bin"))
    elif how.get("file") == "sharded":
        stored.save_pretrained(folder, max_shard_size="12KB")
    else:
        stored.save_pretrained(folder)
    model.float()  # Compute with the file's values in f32.


def write(folder, case, seed):
    *_, rows, width, how = case
    model, generator = build(case, seed)
    os.makedirs(folder, exist_ok=True)
    save(model, folder, how)
    if how.get("pairs"):
        with open(os.path.join(folder, "preprocessing.json"), "w") as file:
            file.write('{\n  "pairs": true\n}\n')
    data = expected(model, *batch(generator, model.config, rows, width, how))
    with open(os.path.join(folder, "expected.json"), "w") as file:
        json.dump(data, file)


def write_folder(folder, out, seed):
    """Write the same for a folder that was made elsewhere."""
    model, info = AutoModelForSequenceClassification.from_pretrained(folder, output_loading_info=True, attn_implementation="eager")
    problems = {key: list(value) for key, value in info.items() if value}
    if problems:
        raise SystemExit(f"{folder}: loading reports {problems}")
    os.makedirs(out, exist_ok=True)
    for name in ("config.json", "model.safetensors"):
        shutil.copy(os.path.join(folder, name), out)
    data = expected(model.float(), *batch(torch.Generator().manual_seed(seed), model.config, 3, 14, {}))
    with open(os.path.join(out, "expected.json"), "w") as file:
        json.dump(data, file)


def build(case, seed):
    family, fields, *_ = case
    config_class, model_class, pad = CLASSES[family]
    small = SMALL if family != "distilbert" else dict(vocab_size=60, num_labels=3)  # Its config names the sizes differently.
    config = config_class(**(small | dict(pad_token_id=pad) | fields))
    config._attn_implementation = "eager"
    generator = torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)
    model = model_class(config)
    randomise(model, generator)
    return model, generator


def write_lora(folder, base, options, seed):
    from peft import LoraConfig, get_peft_model
    _, _, rows, width, how = CASES[base]
    model, generator = build(CASES[base], seed)
    model.save_pretrained(os.path.join(folder, "base"))
    ids, mask, labels, _ = batch(generator, model.config, rows, width, how)
    model = get_peft_model(model, LoraConfig(task_type="SEQ_CLS", lora_dropout=0.0, **options))
    with torch.no_grad():
        for name, p in model.named_parameters():
            if "lora_" in name:
                p.copy_(0.2 * torch.randn(p.shape, generator=generator))
    model.eval()
    model.save_pretrained(os.path.join(folder, "adapter"))
    os.remove(os.path.join(folder, "adapter", "README.md"))
    out = model(input_ids=ids, attention_mask=mask, labels=labels)
    out.loss.backward()
    name = lambda n: n.removeprefix("base_model.model.").replace(".default", "").replace(".modules_to_save", "")
    trained = {name(n): p for n, p in model.named_parameters() if p.requires_grad}
    data = dict(input_ids=ids.tolist(), attention_mask=mask.tolist(), labels=labels.tolist(), logits=out.logits.tolist(),
                loss=out.loss.item(), trainable_parameters=sum(p.numel() for p in trained.values()),
                grad_norms={n: p.grad.norm().item() for n, p in trained.items()})
    with torch.no_grad():
        data["merged_logits"] = model.merge_and_unload()(input_ids=ids, attention_mask=mask).logits.tolist()
    with open(os.path.join(folder, "expected.json"), "w") as file:
        json.dump(data, file)


def log_buckets():
    """The bucket of every distance that a test table needs, from transformers."""
    from transformers.models.deberta_v2.modeling_deberta_v2 import make_log_bucket_position
    sizes = [(256, 512), (32, 128), (16, 40), (4, 10), (255, 512)]
    row = lambda buckets, furthest: make_log_bucket_position(torch.arange(2 * furthest), buckets, furthest).long().tolist()
    return [dict(buckets=b, furthest=f, rows=row(b, f)) for b, f in sizes]


def random_case(rng):
    family = rng.choice([family for family in CLASSES if family != "distilbert"])
    heads = rng.choice([1, 2, 3, 5])
    width = rng.randint(3, 33)
    fields = dict(num_attention_heads=heads, hidden_size=heads * rng.choice([4, 7, 8]), num_hidden_layers=rng.randint(1, 4),
                  intermediate_size=rng.randint(5, 70), vocab_size=rng.randint(30, 200), num_labels=rng.randint(2, 7),
                  hidden_act=rng.choice(["gelu", "gelu_new", "relu", "silu"]), layer_norm_eps=rng.choice([1e-5, 1e-7, 1e-12]),
                  max_position_embeddings=width + rng.choice([2, 3, 20]), type_vocab_size=rng.choice([1, 2]))
    if family == "deberta":
        fields |= dict(relative_attention=rng.random() < 0.9, position_buckets=rng.choice([-1, 4, 8, 12]),
                       max_relative_positions=rng.choice([-1, 16, 40]), share_att_key=rng.random() < 0.5,
                       norm_rel_ebd=rng.choice(["none", "layer_norm"]), position_biased_input=rng.random() < 0.5,
                       pos_att_type=rng.choice([["c2p"], ["p2c"], ["c2p", "p2c"], []]), type_vocab_size=rng.choice([0, 2]),
                       pooler_hidden_act=rng.choice(["gelu", "tanh", "relu"]))
        fields["max_position_embeddings"] = max(fields["max_position_embeddings"], 10)
        if rng.random() < 0.3:
            fields |= dict(conv_kernel_size=rng.choice([1, 3, 5]), conv_act=rng.choice(["tanh", "gelu"]))
    how = dict(empty=rng.random() < 0.3, file=rng.choice([None, None, "bin", "sharded"]),
               dtype=rng.choice([None, None, None, "float16", "bfloat16"]))
    return family, fields, rng.randint(1, 6), width, how


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--random", type=int, default=0)
    parser.add_argument("--folders", nargs="+", default=[])
    parser.add_argument("--only", nargs="+", default=[], help="names of cases to write")
    args = parser.parse_args()
    for i, folder in enumerate(args.folders):
        name = os.path.basename(os.path.normpath(folder))
        write_folder(folder, os.path.join(args.out, name), args.seed + i)
        print(name)
    if args.folders:
        return
    cases = dict(CASES)
    if args.random:
        rng = random.Random(args.seed)
        cases = {f"random-{i}": random_case(rng) for i in range(args.random)}
    for i, (name, case) in enumerate(cases.items()):
        if args.only and name not in args.only:
            continue
        write(os.path.join(args.out, name), case, args.seed + i)
        print(name)
    if not args.random and not args.only:
        with open(os.path.join(args.out, "log_buckets.json"), "w") as file:
            json.dump(log_buckets(), file)
        for i, (name, (base, options)) in enumerate(LORA.items()):
            write_lora(os.path.join(args.out, name), base, options, args.seed + 100 + i)
            print(name)


if __name__ == "__main__":
    main()
