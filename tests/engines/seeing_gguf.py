"""Makes a tiny model that sees, and projectors: real ones to llama.cpp, with weights written by hand or random.

The model that `write_seer` makes says `red`, `green` or `blue`: the colour that most rows of the images before the
reply have, or `nothing` where there is none.
"""

from pathlib import Path
from typing import Literal

import gguf
import numpy as np

from tests.engines.tiny_gguf import CHATML, CONTROL, WIDTH, add_tokenizer, finish, tokens

PATCH, SIDE = 8, 16
"""Pixels of a patch, and of the image that a projector looks at by default."""

Kind = Literal["mlp", "idefics3", "gemma3", "qwen2vl_merger"]
"""How the projector makes rows: LLaVA's one a patch, SmolVLM's of tiles, Gemma's such as look at each other; Qwen's."""

AROUND_TILES = ("\n\n", "<fake_token_around_image>", "<global-img>")
"""Tokens that a model with a projector of kind `idefics3` has."""

COLOURS = ("red", "green", "blue")
_SIGHT = 32
"""Dimensions within the projector."""
_WORDS = (*COLOURS, "nothing")
_SAID, _TEXT, _MEMORY = 3, 4, 8
"""Dimensions of the seer: a colour has been said; this is text; what was seen, a dimension a colour (as rows have from
0 on).
"""


def write_seer(path: Path, *, context: int = 1024, template: str = CHATML) -> Path:
    """Writes the model: attention to all before it alike, which collects the colours of rows."""
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_context_length(context)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(1)
    writer.add_feed_forward_length(WIDTH)
    writer.add_head_count(1)
    writer.add_head_count_kv(1)
    writer.add_rope_dimension_count(WIDTH)
    writer.add_layer_norm_rms_eps(1e-5)
    add_tokenizer(writer, template, words=_WORDS)
    size, first = len(tokens()) + len(_WORDS), len(tokens())
    embeddings, output = np.zeros((size, WIDTH), np.float32), np.zeros((size, WIDTH), np.float32)
    embeddings[:, _TEXT] = 1
    embeddings[first:, _TEXT], embeddings[first:, _SAID] = 0, 1
    output[CONTROL.index("<|im_end|>"), _SAID] = 1000
    for place, _ in enumerate(COLOURS):
        output[first + place, _MEMORY + place] = 10
    output[-1, _TEXT] = 0.1
    value, attended = np.zeros((WIDTH, WIDTH), np.float32), np.zeros((WIDTH, WIDTH), np.float32)
    for place, _ in enumerate(COLOURS):
        value[place, place] = attended[_MEMORY + place, place] = 1
    nothing = np.zeros((WIDTH, WIDTH), np.float32)
    matrices = {"attn_q": nothing, "attn_k": nothing, "attn_v": value, "attn_output": attended}
    matrices |= dict.fromkeys(("ffn_gate", "ffn_up", "ffn_down"), nothing)
    writer.add_tensor("token_embd.weight", embeddings)
    writer.add_tensor("output.weight", output)
    for name, values in matrices.items():
        writer.add_tensor(f"blk.0.{name}.weight", values)
    for name in ("output_norm", "blk.0.attn_norm", "blk.0.ffn_norm"):
        writer.add_tensor(f"{name}.weight", np.ones(WIDTH, np.float32))
    return finish(writer, path)


def write_projector(
    path: Path, kind: Kind = "mlp", *, width: int = WIDTH, side: int = SIDE, seed: int | None = None
) -> Path:
    """Writes a projector for a model of `width` dimensions.

    Args:
        path: the file.
        kind: how it makes rows.
        width: dimensions of its model.
        side: pixels of the image that it looks at, or of a tile of it.
        seed: of random weights; None: a row's first three dimensions are how red, green and blue its patch is (`mlp`).
    """
    random = np.random.default_rng(seed)
    writer = gguf.GGUFWriter(path, "clip")
    writer.add_bool("clip.has_vision_encoder", True)
    writer.add_string("clip.projector_type", kind)
    writer.add_bool("clip.use_gelu", True)
    for name, value in (
        ("image_size", side),
        ("patch_size", PATCH),
        ("embedding_length", _SIGHT),
        ("feed_forward_length", 2 * _SIGHT),
        ("projection_dim", width),
        ("block_count", 1),
        ("attention.head_count", 1),
        ("projector.scale_factor", {"idefics3": 2, "gemma3": 4}.get(kind, 1)),
    ):
        writer.add_uint32(f"clip.vision.{name}", value)
    writer.add_float32("clip.vision.attention.layer_norm_epsilon", 1e-6)
    writer.add_array("clip.vision.image_mean", [0.5] * 3)
    writer.add_array("clip.vision.image_std", [0.5] * 3)
    for name, values in _sight(kind, width, (side // PATCH) ** 2, random, by_hand=seed is None):
        writer.add_tensor(name, values)
    return finish(writer, path)


def _sight(
    kind: Kind, width: int, patches: int, random: np.random.Generator, by_hand: bool
) -> list[tuple[str, np.ndarray]]:
    def matrix(*shape: int) -> np.ndarray:
        return np.zeros(shape, np.float32) if by_hand else random.standard_normal(shape).astype(np.float32) / 4

    def norm(name: str) -> list[tuple[str, np.ndarray]]:
        return [(f"{name}.weight", np.ones(_SIGHT, np.float32)), (f"{name}.bias", np.zeros(_SIGHT, np.float32))]

    patch, hidden, out = matrix(_SIGHT, 3, PATCH, PATCH), matrix(width, _SIGHT), matrix(width, width)
    if by_hand:
        for colour in range(3):
            patch[colour, colour] = 1 / PATCH**2
            hidden[colour, colour] = 1
            out[colour, colour] = 1
    made = [
        ("v.patch_embd.weight", patch),
        *(() if kind == "qwen2vl_merger" else [("v.patch_embd.bias", np.zeros(_SIGHT, np.float32))]),
        ("v.position_embd.weight", matrix(patches + (kind == "mlp"), _SIGHT)),
        *norm("v.post_ln"),
    ]
    for name in ("attn_q", "attn_k", "attn_v", "attn_out"):
        made += [(f"v.blk.0.{name}.weight", matrix(_SIGHT, _SIGHT)), (f"v.blk.0.{name}.bias", matrix(_SIGHT))]
    made += [("v.blk.0.ffn_up.weight", matrix(2 * _SIGHT, _SIGHT)), ("v.blk.0.ffn_up.bias", matrix(2 * _SIGHT))]
    made += [("v.blk.0.ffn_down.weight", matrix(_SIGHT, 2 * _SIGHT)), ("v.blk.0.ffn_down.bias", matrix(_SIGHT))]
    made += [*norm("v.blk.0.ln1"), *norm("v.blk.0.ln2")]
    if kind == "mlp":
        made += [("v.class_embd", matrix(_SIGHT)), *norm("v.pre_ln")]
        made += [
            ("mm.0.weight", hidden),
            ("mm.0.bias", matrix(width)),
            ("mm.2.weight", out),
            ("mm.2.bias", matrix(width)),
        ]
    elif kind == "idefics3":
        made.append(("mm.model.fc.weight", matrix(width, 4 * _SIGHT)))
    elif kind == "gemma3":
        made += [
            ("mm.input_projection.weight", matrix(_SIGHT, width)),
            ("mm.soft_emb_norm.weight", np.ones(_SIGHT, np.float32)),
        ]
    else:
        made += [("v.patch_embd.weight.1", patch)]
        made += [
            (f"mm.{at}.weight", matrix(*shape))
            for at, shape in ((0, (4 * _SIGHT, 4 * _SIGHT)), (2, (width, 4 * _SIGHT)))
        ]
        made += [(f"mm.{at}.bias", matrix(size)) for at, size in ((0, 4 * _SIGHT), (2, width))]
    return made
