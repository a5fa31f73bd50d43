"""What a configuration says of a model of the Llama family, and whether it can run natively."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

FAMILIES = {
    "llama": "LlamaForCausalLM",
    "mistral": "MistralForCausalLM",
    "qwen2": "Qwen2ForCausalLM",
    "qwen3": "Qwen3ForCausalLM",
}
# Of these the angles of a position never change; those of "dynamic" and "longrope" depend on the
# length of the whole batch.
ROPE_TYPES = ("default", "linear", "llama3", "yarn")


def native_supported(config: Any) -> str | None:
    """Why a model of this transformers configuration cannot run natively; None where it can."""
    family = getattr(config, "model_type", None)
    if family not in FAMILIES:
        return f"models of type {family!r} have no native implementation ({', '.join(FAMILIES)} do)"
    names = getattr(config, "architectures", None) or [FAMILIES[family]]
    if names[0] != FAMILIES[family]:
        return f"the architecture is {names[0]}, not {FAMILIES[family]}"
    if getattr(config, "quantization_config", None):
        return "the checkpoint is quantised"
    if config.hidden_act not in ("silu", "swish"):
        return f"the activation is {config.hidden_act!r}, not 'silu'"
    rope = _rope_parameters(config)
    kind = rope.get("rope_type", rope.get("type", "default"))
    if kind not in ROPE_TYPES:
        return f"rotary embeddings of type {kind!r} ({', '.join(ROPE_TYPES)} are supported)"
    part = rope.get("partial_rotary_factor", getattr(config, "partial_rotary_factor", None))
    if part not in (None, 1):
        return f"only {part} of each head is rotated"
    dim = _head_dim(config)
    if dim % 2:
        return f"heads of {dim} numbers cannot be rotated: the size is odd"
    heads, kv_heads = config.num_attention_heads, config.num_key_value_heads
    if heads % kv_heads:
        return f"{heads} query heads are not a multiple of {kv_heads} key heads"
    others = set(getattr(config, "layer_types", None) or ()) - {
        "full_attention",
        "sliding_attention",
    }
    if others:
        return f"layers of type {', '.join(sorted(others))}"
    return None


@dataclass(frozen=True)
class LlamaShape:
    """Sizes and options of a model of the family.

    Attributes:
        windows: for each layer, how many tokens a token sees, itself among them; None for all.
        qkv_bias, output_bias, mlp_bias: which projections have biases.
        head_norms: queries and keys are normalised, head by head.
        tied: the logits are computed with the embedding matrix.
        max_positions: the size of the table of rotations.
    """

    vocab_size: int
    hidden: int
    intermediate: int
    heads: int
    kv_heads: int
    head_dim: int
    windows: tuple[int | None, ...]
    eps: float
    qkv_bias: bool
    output_bias: bool
    mlp_bias: bool
    head_norms: bool
    tied: bool
    max_positions: int

    @classmethod
    def of(cls, config: Any) -> LlamaShape:
        """From the transformers configuration of a model that :func:`native_supported` accepts."""
        family = config.model_type
        # Only these two read the option; the others' checkpoints may name it all the same.
        bias = family in ("llama", "qwen3") and bool(config.attention_bias)
        return cls(
            vocab_size=config.vocab_size,
            hidden=config.hidden_size,
            intermediate=config.intermediate_size,
            heads=config.num_attention_heads,
            kv_heads=config.num_key_value_heads,
            head_dim=_head_dim(config),
            windows=_windows(config),
            eps=config.rms_norm_eps,
            qkv_bias=bias or family == "qwen2",
            output_bias=bias,
            mlp_bias=family == "llama" and bool(config.mlp_bias),
            head_norms=family == "qwen3",
            tied=bool(config.tie_word_embeddings),
            max_positions=config.max_position_embeddings,
        )

    def tensors(self) -> dict[str, tuple[int, ...]]:
        """Name and shape of every tensor in a checkpoint, named as transformers does."""
        q, kv = self.heads * self.head_dim, self.kv_heads * self.head_dim
        shapes: dict[str, tuple[int, ...]] = {
            "model.embed_tokens.weight": (self.vocab_size, self.hidden),
            "model.norm.weight": (self.hidden,),
        }
        if not self.tied:
            shapes["lm_head.weight"] = (self.vocab_size, self.hidden)
        linear = {
            "self_attn.q_proj": (q, self.hidden, self.qkv_bias),
            "self_attn.k_proj": (kv, self.hidden, self.qkv_bias),
            "self_attn.v_proj": (kv, self.hidden, self.qkv_bias),
            "self_attn.o_proj": (self.hidden, q, self.output_bias),
            "mlp.gate_proj": (self.intermediate, self.hidden, self.mlp_bias),
            "mlp.up_proj": (self.intermediate, self.hidden, self.mlp_bias),
            "mlp.down_proj": (self.hidden, self.intermediate, self.mlp_bias),
        }
        norms = {"input_layernorm": self.hidden, "post_attention_layernorm": self.hidden}
        if self.head_norms:
            norms |= {"self_attn.q_norm": self.head_dim, "self_attn.k_norm": self.head_dim}
        for layer in range(len(self.windows)):
            prefix = f"model.layers.{layer}."
            for name, (rows, columns, bias) in linear.items():
                shapes[f"{prefix}{name}.weight"] = (rows, columns)
                if bias:
                    shapes[f"{prefix}{name}.bias"] = (rows,)
            for name, size in norms.items():
                shapes[f"{prefix}{name}.weight"] = (size,)
        return shapes


def rotary_table(config: Any, device: torch.device) -> torch.Tensor:
    """fp32 [max_positions, head_dim]: cosines of each position's angles, then their sines.

    transformers' own module knows the frequencies, and the factor, of every type of scaling.
    """
    from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding

    rotary = LlamaRotaryEmbedding(config)
    half = rotary.inv_freq.numel()
    position = torch.arange(config.max_position_embeddings, dtype=torch.float32, device=device)
    angles = position[:, None] * rotary.inv_freq.to(device, torch.float32)
    table = torch.empty(len(position), 2 * half, device=device)
    torch.cos(angles, out=table[:, :half])
    torch.sin(angles, out=table[:, half:])
    return table.mul_(rotary.attention_scaling)


def _rope_parameters(config: Any) -> dict[str, Any]:
    # The second name is that of transformers 4.
    found = getattr(config, "rope_parameters", None) or getattr(config, "rope_scaling", None)
    return found or {}


def _head_dim(config: Any) -> int:
    return getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads


def _windows(config: Any) -> tuple[int | None, ...]:
    count = config.num_hidden_layers
    if config.model_type == "llama":
        return (None,) * count
    if config.model_type == "mistral":
        return (config.sliding_window,) * count
    return tuple(
        config.sliding_window if kind == "sliding_attention" else None
        for kind in config.layer_types
    )
