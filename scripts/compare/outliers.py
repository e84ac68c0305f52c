#!/usr/bin/env python3
"""Measure what rounding does to a DeBERTa with outliers in its activations, recipe by recipe.

    pip install torch transformers onnx onnxruntime safetensors pyarrow
    python scripts/compare/outliers.py inject MODEL_DIR OUT_DIR [--channels 3] [--size 60] [--values 0]
    python scripts/compare/outliers.py score MODEL_DIR TOKENS_DIR [--onnx F32.onnx] [--report quantization.json]

`inject` gives a trained DeBERTa-v2/v3 channels that are large wherever the layers read them, as in downloaded checkpoints,
without changing its function: a LayerNorm adds to a channel, the biases of the layers that read it subtract the same again,
and so does the residual path. `--values` also multiplies this many channels of each layer's values, and divides the weights
that read them. `score` measures the accuracy on the test rows in floats and with the encoder's linear layers rounded by each
recipe (rounded numbers, products in floats). With `--report` it also uses the forms that `quantize@int8` chose; with
`--onnx`, the f32 file of `convert@onnx`, it also uses ONNX Runtime's own dynamic quantization.
(`pipe cache path FILE STAGE` prints a stage's folder.)
"""
import argparse
import json
import os
import shutil
import tempfile

import numpy as np
import torch


def inject(model, out, channels, size, values):
    from safetensors.torch import load_file, save_file

    t = load_file(os.path.join(model, "model.safetensors"))
    random = np.random.default_rng(0)
    hidden = t["deberta.encoder.layer.0.attention.output.LayerNorm.bias"].numel()
    layers = 1 + max(int(name.split(".")[3]) for name in t if name.startswith("deberta.encoder.layer."))
    readers = [n for n in t if n.endswith(("query_proj.weight", "key_proj.weight", "value_proj.weight", "intermediate.dense.weight"))]
    for i, channel in enumerate(random.choice(hidden, channels, replace=False)):
        add = size * (1 + i) * (-1) ** i
        t["deberta.embeddings.LayerNorm.bias"][channel] += add
        t["deberta.encoder.LayerNorm.bias"][channel] += add
        for layer in range(layers):
            at = f"deberta.encoder.layer.{layer}"
            t[f"{at}.attention.output.LayerNorm.bias"][channel] += add
            if layer + 1 < layers:
                t[f"{at}.output.LayerNorm.bias"][channel] += add
            t[f"{at}.attention.output.dense.bias"][channel] -= add
            t[f"{at}.output.dense.bias"][channel] -= add
        for name in readers:
            t[name.replace("weight", "bias")] -= add * t[name][:, channel]
    for layer in range(layers):
        at = f"deberta.encoder.layer.{layer}.attention"
        for channel in random.choice(hidden, values, replace=False):
            t[f"{at}.self.value_proj.weight"][channel] *= 40
            t[f"{at}.self.value_proj.bias"][channel] *= 40
            t[f"{at}.output.dense.weight"][:, channel] /= 40
    shutil.copytree(model, out, dirs_exist_ok=True)
    target = os.path.join(out, "model.safetensors")
    if os.path.exists(target):
        os.remove(target)
    save_file(t, target, metadata={"format": "pt"})


def rows(tokens, split):
    import pyarrow as pa

    with pa.OSFile(os.path.join(tokens, f"{split}.arrow")) as file:
        table = pa.ipc.open_file(file).read_all()
    return table.column("input_ids").to_pylist(), np.array(table.column("label").to_pylist())


def batches(ids, pad, size=16):
    for first in range(0, len(ids), size):
        some = ids[first : first + size]
        batch = np.full((len(some), max(map(len, some))), pad, dtype=np.int64)
        mask = np.zeros_like(batch)
        for i, row in enumerate(some):
            batch[i, : len(row)], mask[i, : len(row)] = row, 1
        yield batch, mask


def rounded_weight(w, bits=8):
    """Symmetric, one scale per output."""
    scale = w.abs().amax(1, keepdim=True).clamp_min(1e-30) / (2 ** (bits - 1) - 1)
    return (w / scale).round() * scale


def rounded(x, bits, axis):
    """Asymmetric over the range of each token, or of all tokens."""
    low, high = (x.amin(-1, keepdim=True), x.amax(-1, keepdim=True)) if axis == "token" else (x.min(), x.max())
    low, high = low.clamp_max(0), high.clamp_min(0)
    scale = ((high - low) / (2**bits - 1)).clamp_min(1e-30)
    zero = (-low / scale).round()
    return ((x / scale + zero).round().clamp(0, 2**bits - 1) - zero) * scale


def score(model_dir, tokens, onnx, report):
    from transformers import AutoModelForSequenceClassification

    model = AutoModelForSequenceClassification.from_pretrained(model_dir, dtype=torch.float32).eval()
    ids, labels = rows(tokens, "test")
    some, _ = rows(tokens, "validation")
    pad = model.config.pad_token_id
    linears = {n: m for n, m in model.named_modules() if isinstance(m, torch.nn.Linear) and ".encoder.layer." in n}
    weights = {n: m.weight.detach().clone() for n, m in linears.items()}

    def logits(run, ids):
        with torch.no_grad():
            return np.concatenate([run(batch, mask) for batch, mask in batches(ids, pad)])

    torch_run = lambda batch, mask: model(input_ids=torch.tensor(batch), attention_mask=torch.tensor(mask)).logits.numpy()
    largest, typical, handles = {}, {}, []
    for name, module in linears.items():
        def see(module, inputs, name=name):
            x = inputs[0].abs().reshape(-1, inputs[0].shape[-1])
            largest[name] = torch.maximum(largest.get(name, x.amax(0)), x.amax(0))
            typical[name] = x.median().item()
        handles.append(module.register_forward_pre_hook(see))
    logits(torch_run, some[:256])
    for handle in handles:
        handle.remove()
    worst = max(largest, key=lambda n: (largest[n].max() / typical[n]).item())
    print(json.dumps({"largest activation": round(largest[worst].max().item(), 1), "median": round(typical[worst], 3), "of": worst}))
    exact = logits(torch_run, ids)

    def tell(recipe, found):
        off = np.linalg.norm(found - exact) / np.linalg.norm(exact)
        accuracy = (found.argmax(1) == labels).mean()
        other = (found.argmax(1) != exact.argmax(1)).mean()
        print(json.dumps({"recipe": recipe, "accuracy": round(float(accuracy), 4), "change": round(float(accuracy - (exact.argmax(1) == labels).mean()), 4),
                          "other label": round(float(other), 4), "logits differ by": round(float(off), 4)}), flush=True)

    tell("f32", exact)

    def simulated(recipe, bits, axis, smooth=None, wide=lambda name: False, floats=lambda name: False):
        handles = []
        # Layers that read the same activations share the factors, because one LayerNorm before them would hold the factors.
        family = lambda name: name.rsplit(".", 1)[0] if name.endswith("_proj") else name
        for name, module in linears.items():
            if floats(name):
                continue
            factor = torch.ones_like(largest[name])
            if smooth is not None:
                together = torch.stack([weights[n].abs().amax(0) for n in linears if family(n) == family(name)]).amax(0)
                factor = (largest[name].clamp_min(1e-5) ** smooth / together.clamp_min(1e-5) ** (1 - smooth)).clamp_min(1e-5)
            module.weight.data = rounded_weight(weights[name] * factor)
            own = 16 if wide(name) else bits
            hook = lambda module, inputs, factor=factor, own=own: (rounded(inputs[0] / factor, own, axis),)
            handles.append(module.register_forward_pre_hook(hook))
        tell(recipe, logits(torch_run, ids))
        for handle in handles:
            handle.remove()
        for name, module in linears.items():
            module.weight.data = weights[name].clone()

    simulated("8 bits, a range a tensor", 8, "tensor")
    simulated("8 bits, a range a token", 8, "token")
    for alpha in (0.5, 0.75):
        simulated(f"smoothed with {alpha}, a range a tensor", 8, "tensor", alpha)
        simulated(f"smoothed with {alpha}, a range a token", 8, "token", alpha)
    simulated("16 bits, a range a token", 16, "token")
    if report:
        forms = {layer["name"]: layer["form"] for layer in json.load(open(report))["layers"]}
        simulated("as chosen", 8, "token", wide=lambda n: forms.get(n) == "int8-wide", floats=lambda n: forms.get(n) == "float16")
    if onnx:
        import onnxruntime
        from onnxruntime.quantization import QuantType, quantize_dynamic

        with tempfile.TemporaryDirectory() as folder:
            int8 = os.path.join(folder, "int8.onnx")
            quantize_dynamic(onnx, int8, op_types_to_quantize=["MatMul", "Gemm"], per_channel=True, weight_type=QuantType.QInt8)
            for recipe, path in (("ONNX Runtime, f32", onnx), ("ONNX Runtime, quantize_dynamic", int8)):
                session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
                run = lambda batch, mask: session.run(["logits"], {"input_ids": batch, "attention_mask": mask})[0]
                tell(recipe, logits(run, ids))


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = p.add_subparsers(dest="command", required=True)
    c = commands.add_parser("inject")
    c.add_argument("model"), c.add_argument("out")
    c.add_argument("--channels", type=int, default=3)
    c.add_argument("--size", type=float, default=60)
    c.add_argument("--values", type=int, default=0)
    c = commands.add_parser("score")
    c.add_argument("model"), c.add_argument("tokens")
    c.add_argument("--onnx")
    c.add_argument("--report")
    a = p.parse_args()
    if a.command == "inject":
        inject(a.model, a.out, a.channels, a.size, a.values)
    else:
        score(a.model, a.tokens, a.onnx, a.report)


if __name__ == "__main__":
    main()
