"""Makes a tiny GGUF file of a recurrent model (Mamba) with random weights: one whose memory cannot go back."""

from pathlib import Path

import gguf
import numpy as np

from tests.engines import tiny_gguf
from tests.engines.tiny_gguf import CHATML, CONTROL, LAYERS, WIDTH

INNER, STATE, KERNEL, RANK = 2 * WIDTH, 8, 4, 4


def write(path: Path, seed: int = 2) -> Path:
    """Writes it; no greedy reply stops by itself."""
    writer = gguf.GGUFWriter(path, "mamba")
    writer.add_context_length(1024)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(0)
    writer.add_head_count(0)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_ssm_conv_kernel(KERNEL)
    writer.add_ssm_inner_size(INNER)
    writer.add_ssm_state_size(STATE)
    writer.add_ssm_time_step_rank(RANK)
    tiny_gguf.add_tokenizer(writer, CHATML)
    random = np.random.default_rng(seed)

    def put(name: str, *shape: int, scale: float = 1.0) -> None:
        values = random.standard_normal(shape) * scale / np.sqrt(shape[-1])
        writer.add_tensor(name, values.astype(np.float32))

    size = len(tiny_gguf.tokens())
    output = random.standard_normal((size, WIDTH)) / 2
    output[: len(CONTROL)] = 0
    writer.add_tensor("output.weight", output.astype(np.float32))
    writer.add_tensor("output_norm.weight", np.ones(WIDTH, np.float32))
    put("token_embd.weight", size, WIDTH, scale=8)
    for layer in range(LAYERS):
        writer.add_tensor(f"blk.{layer}.attn_norm.weight", np.ones(WIDTH, np.float32))
        put(f"blk.{layer}.ssm_in.weight", 2 * INNER, WIDTH)
        put(f"blk.{layer}.ssm_conv1d.weight", INNER, KERNEL, scale=4)
        writer.add_tensor(f"blk.{layer}.ssm_conv1d.bias", np.zeros(INNER, np.float32))
        put(f"blk.{layer}.ssm_x.weight", RANK + 2 * STATE, INNER)
        put(f"blk.{layer}.ssm_dt.weight", INNER, RANK)
        writer.add_tensor(f"blk.{layer}.ssm_dt.bias", np.full(INNER, -5, np.float32))
        writer.add_tensor(f"blk.{layer}.ssm_a", -np.full((INNER, STATE), 0.5, np.float32))
        writer.add_tensor(f"blk.{layer}.ssm_d", np.ones(INNER, np.float32))
        put(f"blk.{layer}.ssm_out.weight", WIDTH, INNER)
    return tiny_gguf.finish(writer, path)
