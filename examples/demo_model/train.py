"""Trains the demo model on generated documents and writes it in Hugging Face format.

    python train.py --assets ../../structgen/assets/demo --out model --minutes 7

The seed fixes the data, its order and the initial weights. With ``--minutes`` the number of steps
is chosen from the speed of the first ones and printed; ``--steps`` repeats a run on other hardware.
"""

from __future__ import annotations

import argparse
import json
import queue
import random
import threading
import time
from collections.abc import Iterator
from multiprocessing.pool import Pool
from pathlib import Path

import batches
import numpy as np
import torch
from network import Network
from safetensors.torch import load_file
from torch import Tensor
from transformers import AutoTokenizer, GenerationConfig, LlamaConfig, LlamaForCausalLM

THETA = 10_000.0
MEASURED = range(100, 400)
"""Steps timed to choose how many there will be."""


def configuration(args: argparse.Namespace) -> LlamaConfig:
    tokenizer = AutoTokenizer.from_pretrained(args.assets)
    return LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=args.hidden,
        intermediate_size=args.hidden * 11 // 4,
        num_hidden_layers=args.layers,
        num_attention_heads=args.hidden // 32,
        num_key_value_heads=args.hidden // 64,
        head_dim=32,
        max_position_embeddings=1024,
        rms_norm_eps=1e-5,
        tie_word_embeddings=True,
        rope_parameters={"rope_type": "default", "rope_theta": THETA},
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )


def on_device(ids: np.ndarray, weights: np.ndarray, device: str) -> tuple[Tensor, Tensor]:
    return torch.from_numpy(ids.astype(np.int32)).to(device), torch.from_numpy(weights).to(device)


def stream(pool: Pool, args: argparse.Namespace) -> Iterator[tuple[Tensor, Tensor]]:
    """Fresh batches and, between two of them, ``repeats - 1`` earlier ones drawn again."""
    ready: queue.Queue[tuple[Tensor, Tensor]] = queue.Queue(maxsize=32)
    fresh = batches.fresh_batches(pool, args.workers, args.seed, args.batch_tokens, args.chunk)

    def feed() -> None:
        for ids, weights in fresh:
            ready.put(on_device(ids, weights, args.device))

    threading.Thread(target=feed, daemon=True).start()
    rng = random.Random(args.seed)
    seen: list[tuple[Tensor, Tensor]] = []
    while True:
        seen.append(ready.get())
        yield seen[-1]
        for _ in range(args.repeats - 1):
            yield rng.choice(seen)


def learning_rate(step: int, total: int | None, peak: float, warmup: int = 400) -> float:
    """Linear warm-up, then linear decay to nothing; before ``total`` is known, the warm-up only."""
    if step < warmup or total is None:
        return peak * min(1.0, (step + 1) / warmup)
    return peak * max(0.0, (total - step) / (total - warmup))


def warm_up_shapes(network: Network, args: argparse.Namespace) -> None:
    """Compiles every row length before the clock of the schedule starts."""
    for length in batches.LENGTHS:
        ids = torch.zeros(
            args.batch_tokens // length, length, dtype=torch.int32, device=args.device
        )
        with torch.autocast(args.device, torch.bfloat16):
            loss = network(ids.long(), torch.ones_like(ids, dtype=torch.float32))
        loss.backward()
    network.zero_grad(set_to_none=True)


def train(network: Network, pool: Pool, args: argparse.Namespace) -> int:
    """Returns the number of steps taken."""
    started = time.time()
    data = stream(pool, args)
    if args.device == "cuda":
        network.compile()
        warm_up_shapes(network, args)
        print(f"compiled in {time.time() - started:.0f} s", flush=True)
    decayed = [p for p in network.parameters() if p.dim() == 2]
    others = [p for p in network.parameters() if p.dim() < 2]
    optimizer = torch.optim.AdamW(
        [{"params": decayed, "weight_decay": 0.05}, {"params": others, "weight_decay": 0.0}],
        lr=args.rate,
        betas=(0.9, 0.98),
        fused=args.device == "cuda",
    )
    total, mark, tokens, recent = args.steps, 0.0, 0, []
    step = 0
    while total is None or step < total:
        if total is None and step == MEASURED.start:
            torch.cuda.synchronize()
            mark = time.time()
        if total is None and step == MEASURED.stop:
            torch.cuda.synchronize()
            each = (time.time() - mark) / len(MEASURED)
            total = step + int((args.minutes * 60 - (time.time() - started)) / each)
            print(f"{each * 1e3:.1f} ms a step: --steps {total}", flush=True)
        for part in optimizer.param_groups:
            part["lr"] = learning_rate(step, total, args.rate)
        ids, weights = next(data)
        with torch.autocast(args.device, torch.bfloat16):
            loss = network(ids.long(), weights.float())
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        tokens += ids.numel()
        recent.append(loss.detach())
        step += 1
        if step % args.report == 0:
            mean = torch.stack(recent).mean().item()
            print(
                f"step {step} loss {mean:.4f} tokens {tokens / 1e6:.0f}M "
                f"{time.time() - started:.0f} s",
                flush=True,
            )
            recent.clear()
    return step


def load(network: Network, folder: Path) -> None:
    """Starts from saved weights instead of random ones."""
    saved = load_file(folder / "model.safetensors")
    network.load_state_dict(
        {k.removeprefix("model."): v.float() for k, v in saved.items() if k != "lm_head.weight"}
    )


def save(network: Network, config: LlamaConfig, out: Path) -> LlamaForCausalLM:
    """Half precision on disk; whoever loads it may widen it."""
    model = LlamaForCausalLM(config).eval()
    weights = {
        f"model.{name}": tensor.cpu().clone() for name, tensor in network.state_dict().items()
    }
    weights["lm_head.weight"] = weights["model.embed_tokens.weight"]
    model.load_state_dict(weights)
    model.half().save_pretrained(out)
    GenerationConfig(
        bos_token_id=config.bos_token_id,
        eos_token_id=config.eos_token_id,
        pad_token_id=config.pad_token_id,
        do_sample=False,
        max_new_tokens=512,
    ).save_pretrained(out)
    return model


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--assets", type=Path, required=True, help="folder with the trained tokenizer"
    )
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--start", type=Path, help="folder with weights to continue from")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--hidden", type=int, default=256)
    parser.add_argument("--layers", type=int, default=8)
    parser.add_argument("--batch-tokens", type=int, default=65_536)
    parser.add_argument("--chunk", type=int, default=1024, help="samples a worker makes at a time")
    parser.add_argument(
        "--repeats", type=int, default=2, help="how often a batch is used on average"
    )
    parser.add_argument("--rate", type=float, default=2e-3)
    parser.add_argument(
        "--steps", type=int, help="number of steps; without it, as many as fit in --minutes"
    )
    parser.add_argument("--minutes", type=float, default=7.0)
    parser.add_argument("--workers", type=int, default=15)
    parser.add_argument("--report", type=int, default=250)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    args = parser.parse_args()
    pool = batches.start_workers(args.assets / "tokenizer.json", args.workers)
    torch.manual_seed(args.seed)
    torch.set_float32_matmul_precision("high")
    torch._dynamo.config.recompile_limit = 64
    config = configuration(args)
    network = Network(config, THETA)
    if args.start:
        load(network, args.start)
    network.to(args.device)
    parameters = sum(p.numel() for p in network.parameters())
    print(f"{parameters / 1e6:.2f}M parameters", flush=True)
    began = time.time()
    steps = train(network, pool, args)
    args.out.mkdir(parents=True, exist_ok=True)
    save(network, config, args.out)
    record = {k: str(v) if isinstance(v, Path) else v for k, v in vars(args).items()}
    record |= {"steps": steps, "seconds": round(time.time() - began), "parameters": parameters}
    print(json.dumps(record))
    pool.terminate()


if __name__ == "__main__":
    main()
