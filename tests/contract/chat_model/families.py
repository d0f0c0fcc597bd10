"""Small random-weight models of five families, built by code and saved as `save_pretrained` does."""

# ruff: noqa: E501 (templates and tables)

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from tokenizers import AddedToken, Tokenizer, decoders, normalizers, pre_tokenizers, trainers
from tokenizers.models import BPE
from transformers import (
    Gemma3Config,
    Gemma3ForConditionalGeneration,
    Gemma3ImageProcessor,
    Gemma3Processor,
    GemmaTokenizer,
    Idefics3Config,
    Idefics3ForConditionalGeneration,
    Idefics3ImageProcessor,
    Idefics3Processor,
    PreTrainedTokenizerFast,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2_5_VLProcessor,
    Qwen2VLImageProcessor,
    Qwen2VLVideoProcessor,
    Qwen3VLConfig,
    Qwen3VLForConditionalGeneration,
    Qwen3VLProcessor,
    Qwen3VLVideoProcessor,
)

CORPUS = [
    '{"name":"query_knowledge","arguments":{"query":"treatment","diseases":[" melanoma"]}}',
    "the lesion is treated with wide local excision and then looked at again, what is it?",
]

NANO_TEMPLATE = """{%- for m in messages -%}
{{- "<|" ~ m.role ~ "|>" ~ (" " if m.content else "") -}}
{%- if m.content is string -%}{{- m.content -}}
{%- else -%}{%- for b in m.content -%}{{- "<image>" if b.type == "image" else b.text -}}{%- endfor -%}{%- endif -%}
{%- if m.role == "system" and tools -%}{%- for t in tools -%}{{- " " ~ t.function.name -}}{%- endfor -%}{%- endif -%}
{%- for c in m.tool_calls or [] -%}
{{- '<tool_call>{"name":"' ~ c.function.name ~ '","arguments":' ~ (c.function.arguments | tojson(separators=(",", ":"))) ~ "}</tool_call>" -}}
{%- endfor -%}
{{- "<|end|>" -}}
{%- endfor -%}
{{- "<|assistant|>" if add_generation_prompt -}}"""

QWEN_TEMPLATE = """{%- macro show(content) -%}
{%- if content is string -%}{{- content -}}
{%- else -%}{%- for b in content -%}
{{- "<|vision_start|><|image_pad|><|vision_end|>" if b.type == "image" else b.text -}}
{%- endfor -%}{%- endif -%}
{%- endmacro -%}
{%- if tools -%}
{{- "<|im_start|>system\\n" ~ (show(messages[0].content) ~ "\\n\\n" if messages[0].role == "system" else "") -}}
{{- "# Tools\\n<tools>" -}}{%- for t in tools -%}{{- "\\n" ~ (t | tojson) -}}{%- endfor -%}{{- "\\n</tools><|im_end|>\\n" -}}
{%- elif messages[0].role == "system" -%}{{- "<|im_start|>system\\n" ~ show(messages[0].content) ~ "<|im_end|>\\n" -}}
{%- endif -%}
{%- for m in messages -%}
{%- if m.role == "user" or (m.role == "system" and not loop.first) -%}
{{- "<|im_start|>" ~ m.role ~ "\\n" ~ show(m.content) ~ "<|im_end|>\\n" -}}
{%- elif m.role == "assistant" -%}
{{- "<|im_start|>assistant\\n" ~ show(m.content) -}}
{%- for c in m.tool_calls or [] -%}
{{- "\\n" if m.content or not loop.first -}}
{{- '<tool_call>\\n{"name": "' ~ c.function.name ~ '", "arguments": ' ~ (c.function.arguments | tojson) ~ "}\\n</tool_call>" -}}
{%- endfor -%}{{- "<|im_end|>\\n" -}}
{%- elif m.role == "tool" -%}
{{- "<|im_start|>user\\n<tool_response>\\n" ~ show(m.content) ~ "\\n</tool_response><|im_end|>\\n" -}}
{%- endif -%}
{%- endfor -%}
{{- "<|im_start|>assistant\\n" if add_generation_prompt -}}"""

QWEN3_TEMPLATE = """{%- macro show(content, pictures) -%}
{%- if content is string -%}{{- content -}}
{%- else -%}{%- for b in content -%}
{%- if "text" in b -%}{{- b.text -}}
{%- elif pictures and b.type == "image" -%}{{- "<|vision_start|><|image_pad|><|vision_end|>" -}}{%- endif -%}
{%- endfor -%}{%- endif -%}
{%- endmacro -%}
{%- if tools -%}
{{- "<|im_start|>system\\n" ~ (show(messages[0].content) ~ "\\n\\n" if messages[0].role == "system" else "") -}}
{{- "# Tools\\n<tools>" -}}{%- for t in tools -%}{{- "\\n" ~ (t | tojson) -}}{%- endfor -%}{{- "\\n</tools><|im_end|>\\n" -}}
{%- elif messages[0].role == "system" -%}{{- "<|im_start|>system\\n" ~ show(messages[0].content) ~ "<|im_end|>\\n" -}}
{%- endif -%}
{%- for m in messages -%}
{%- if m.role == "user" -%}{{- "<|im_start|>user\\n" ~ show(m.content, true) ~ "<|im_end|>\\n" -}}
{%- elif m.role == "assistant" -%}
{{- "<|im_start|>assistant\\n" ~ show(m.content) -}}
{%- for c in m.tool_calls or [] -%}
{{- "\\n" if m.content or not loop.first -}}
{{- '<tool_call>\\n{"name": "' ~ c.function.name ~ '", "arguments": ' ~ (c.function.arguments | tojson) ~ "}\\n</tool_call>" -}}
{%- endfor -%}{{- "<|im_end|>\\n" -}}
{%- elif m.role == "tool" -%}
{%- if loop.first or loop.previtem.role != "tool" -%}{{- "<|im_start|>user" -}}{%- endif -%}
{{- "\\n<tool_response>\\n" ~ show(m.content, true) ~ "\\n</tool_response>" -}}
{%- if loop.last or loop.nextitem.role != "tool" -%}{{- "<|im_end|>\\n" -}}{%- endif -%}
{%- endif -%}
{%- endfor -%}
{{- "<|im_start|>assistant\\n" if add_generation_prompt -}}"""

GEMMA_TEMPLATE = """{{- bos_token -}}
{%- set first = messages[0].role == "system" -%}
{%- if first -%}{%- set rules = messages[0].content if messages[0].content is string else messages[0].content[0].text -%}{%- endif -%}
{%- for m in (messages[1:] if first else messages) -%}
{%- if (m.role == "user") != (loop.index0 % 2 == 0) -%}{{- raise_exception("Roles must alternate.") -}}{%- endif -%}
{{- "<start_of_turn>" ~ ("model" if m.role == "assistant" else m.role) ~ "\\n" -}}
{{- rules ~ "\\n\\n" if first and loop.first -}}
{%- if m.content is string -%}{{- m.content | trim -}}
{%- else -%}{%- for b in m.content -%}{{- "<start_of_image>" if b.type == "image" else b.text | trim -}}{%- endfor -%}{%- endif -%}
{{- "<end_of_turn>\\n" -}}
{%- endfor -%}
{{- "<start_of_turn>model\\n" if add_generation_prompt -}}"""

SMOL_TEMPLATE = """<|im_start|>{% for message in messages %}{{message['role'] | capitalize}}\
{% if message['content'][0]['type'] == 'image' %}{{':'}}{% else %}{{': '}}{% endif %}\
{% for line in message['content'] %}{% if line['type'] == 'text' %}{{line['text']}}\
{% elif line['type'] == 'image' %}{{ '<image>' }}{% endif %}{% endfor %}<end_of_utterance>
{% endfor %}{% if add_generation_prompt %}{{ 'Assistant:' }}{% endif %}"""

TEXT = dict(
    hidden_size=64, intermediate_size=96, num_hidden_layers=2, num_attention_heads=2, num_key_value_heads=2
)
VISION = dict(hidden_size=64, intermediate_size=96, num_hidden_layers=1, num_attention_heads=2)


def make_tokenizer(special: list[str], eos: str, plain: tuple[str, ...] = ()) -> PreTrainedTokenizerFast:
    """Byte-level BPE trained on two sentences; `plain` tokens are added but not special, as Qwen's markers are."""
    tokenizer = Tokenizer(BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=420,
        special_tokens=["<pad>", *special],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(CORPUS * 20, trainer)
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", eos_token=eos, additional_special_tokens=special
    )
    fast.add_tokens(list(plain))
    return fast


def make_gemma_tokenizer(special: list[str], **named: str) -> GemmaTokenizer:
    """Gemma's own pipeline on a small vocabulary: spaces as `▁`, bytes for what is not in it."""
    learner = Tokenizer(BPE())
    learner.normalizer = normalizers.Replace(" ", "▁")
    learner.pre_tokenizer = pre_tokenizers.Split("▁", "merged_with_next")
    printable = ["▁", *map(chr, range(33, 127))]
    learner.train_from_iterator(
        CORPUS * 20, trainers.BpeTrainer(vocab_size=220, initial_alphabet=printable, show_progress=False)
    )
    learnt = json.loads(learner.to_str())["model"]
    tokens = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>", *special, *(f"<0x{i:02X}>" for i in range(256))]
    tokens += sorted(learnt["vocab"], key=learnt["vocab"].__getitem__)
    merges = [tuple(pair) for pair in learnt["merges"]]
    tokenizer = GemmaTokenizer({t: i for i, t in enumerate(tokens)}, merges, extra_special_tokens=named)
    tokenizer.add_tokens([AddedToken(t, special=True, normalized=False) for t in special])
    return tokenizer


def _ids(tokenizer: PreTrainedTokenizerFast, image: str) -> dict[str, int]:
    return {
        "image_token_id": tokenizer.convert_tokens_to_ids(image),
        "pad_token_id": tokenizer.pad_token_id,
        "eos_token_id": tokenizer.eos_token_id,
    }


def build_nano(folder: Path) -> None:
    """Idefics3 with a Llama decoder, 64 x 64 pictures, 16 tokens each: the shape of the shipped model."""
    roles = ["<|system|>", "<|user|>", "<|assistant|>", "<|tool|>", "<|end|>", "<tool_call>", "</tool_call>"]
    picture = ["<image>", "<fake_token_around_image>", "<global-img>", "<end_of_utterance>"]
    tokenizer = make_tokenizer(roles + picture, "<|end|>")
    ids, size = _ids(tokenizer, "<image>"), len(tokenizer) + 5  # more rows than tokens, as many models have
    config = Idefics3Config(
        vision_config={**VISION, "image_size": 64, "patch_size": 8},
        text_config={"model_type": "llama", **TEXT, "vocab_size": size, "tie_word_embeddings": True, **ids},
        scale_factor=2, tie_word_embeddings=True, image_token_id=ids["image_token_id"], pad_token_id=0,
    )  # fmt: skip
    config.eos_token_id = ids["eos_token_id"]
    images = Idefics3ImageProcessor(
        do_image_splitting=False, size={"longest_edge": 64}, max_image_size={"longest_edge": 64}
    )
    save(
        folder,
        Idefics3ForConditionalGeneration(config),
        Idefics3Processor(images, tokenizer, image_seq_len=16),
        NANO_TEMPLATE,
    )


def build_smol(folder: Path) -> None:
    """Idefics3 with image splitting under SmolVLM's template, which knows neither tools nor plain strings."""
    special = ["<|im_start|>", "<image>", "<fake_token_around_image>", "<global-img>", "<end_of_utterance>"]
    special += [f"<row_{r}_col_{c}>" for r in range(1, 7) for c in range(1, 7)]
    tokenizer = make_tokenizer(special, "<end_of_utterance>")
    ids = _ids(tokenizer, "<image>")
    config = Idefics3Config(
        vision_config={**VISION, "image_size": 32, "patch_size": 8},
        text_config={"model_type": "llama", **TEXT, "vocab_size": len(tokenizer), **ids},
        scale_factor=2, image_token_id=ids["image_token_id"], pad_token_id=0,
    )  # fmt: skip
    images = Idefics3ImageProcessor(size={"longest_edge": 64}, max_image_size={"longest_edge": 32})
    save(
        folder,
        Idefics3ForConditionalGeneration(config),
        Idefics3Processor(images, tokenizer, image_seq_len=4),
        SMOL_TEMPLATE,
    )


def build_qwen(folder: Path) -> None:
    """Qwen2.5-VL: multimodal rotary positions, pictures of any size, tool calls in the Hermes style."""
    special = [
        "<|im_start|>",
        "<|im_end|>",
        "<|vision_start|>",
        "<|vision_end|>",
        "<|image_pad|>",
        "<|video_pad|>",
    ]
    tokenizer = make_tokenizer(special, "<|im_end|>", plain=("<tool_call>", "</tool_call>"))
    ids = _ids(tokenizer, "<|image_pad|>")
    config = Qwen2_5_VLConfig(
        vision_config={
            "depth": 1, "hidden_size": 64, "intermediate_size": 96, "num_heads": 2, "out_hidden_size": 64,
            "fullatt_block_indexes": [0], "patch_size": 8, "window_size": 32,
        },
        text_config={
            **TEXT, "vocab_size": len(tokenizer), **ids, "bos_token_id": None,
            "rope_parameters": {"rope_type": "default", "mrope_section": [4, 6, 6], "rope_theta": 10000.0},
        },
        image_token_id=ids["image_token_id"],
        video_token_id=tokenizer.convert_tokens_to_ids("<|video_pad|>"),
        vision_start_token_id=tokenizer.convert_tokens_to_ids("<|vision_start|>"),
        vision_end_token_id=tokenizer.convert_tokens_to_ids("<|vision_end|>"),
    )  # fmt: skip
    pixels = {"patch_size": 8, "min_pixels": 16 * 16, "max_pixels": 64 * 64}
    processor = Qwen2_5_VLProcessor(
        Qwen2VLImageProcessor(**pixels), tokenizer, Qwen2VLVideoProcessor(**pixels)
    )
    save(folder, Qwen2_5_VLForConditionalGeneration(config), processor, QWEN_TEMPLATE)


def build_qwen3(folder: Path) -> None:
    """Qwen3-VL: interleaved rotary positions, features of inner vision layers added to the first text layers."""
    special = [
        "<|im_start|>",
        "<|im_end|>",
        "<|vision_start|>",
        "<|vision_end|>",
        "<|image_pad|>",
        "<|video_pad|>",
    ]
    tokenizer = make_tokenizer(special, "<|im_end|>", plain=("<tool_call>", "</tool_call>"))
    ids = _ids(tokenizer, "<|image_pad|>")
    rope = {
        "rope_type": "default",
        "mrope_section": [6, 5, 5],
        "mrope_interleaved": True,
        "rope_theta": 10000.0,
    }
    config = Qwen3VLConfig(
        vision_config={
            "depth": 2, "hidden_size": 64, "intermediate_size": 96, "num_heads": 2, "out_hidden_size": 64,
            "deepstack_visual_indexes": [0, 1], "patch_size": 8, "num_position_embeddings": 64,
        },
        text_config={
            **TEXT, "head_dim": 32, "vocab_size": len(tokenizer), **ids, "bos_token_id": None, "rope_parameters": rope,
        },
        image_token_id=ids["image_token_id"],
        video_token_id=tokenizer.convert_tokens_to_ids("<|video_pad|>"),
        vision_start_token_id=tokenizer.convert_tokens_to_ids("<|vision_start|>"),
        vision_end_token_id=tokenizer.convert_tokens_to_ids("<|vision_end|>"),
    )  # fmt: skip
    size = {"shortest_edge": 16 * 16, "longest_edge": 64 * 64}
    processor = Qwen3VLProcessor(
        Qwen2VLImageProcessor(patch_size=8, size=size),
        tokenizer,
        Qwen3VLVideoProcessor(patch_size=8, size=size),
    )
    save(folder, Qwen3VLForConditionalGeneration(config), processor, QWEN3_TEMPLATE)


def build_gemma(folder: Path) -> None:
    """Gemma 3: a layer with a window shorter than any conversation, pictures that attend within themselves."""
    image, begin, end = "<image_soft_token>", "<start_of_image>", "<end_of_image>"
    special = ["<start_of_turn>", "<end_of_turn>", begin, end, image]
    tokenizer = make_gemma_tokenizer(special, image_token=image, boi_token=begin, eoi_token=end)
    ids = _ids(tokenizer, image)
    config = Gemma3Config(
        vision_config={**VISION, "model_type": "siglip_vision_model", "image_size": 64, "patch_size": 8, "vision_use_head": False},
        text_config={
            **TEXT, "head_dim": 32, "query_pre_attn_scalar": 32, "vocab_size": len(tokenizer),
            "layer_types": ["sliding_attention", "full_attention"], "sliding_window": 24,
            "pad_token_id": 0, "eos_token_id": 1, "bos_token_id": 2,
        },
        tie_word_embeddings=False,  # tied, random weights repeat what they have read
        mm_tokens_per_image=16, image_token_index=ids["image_token_id"], image_token_id=ids["image_token_id"],
        boi_token_index=tokenizer.boi_token_id, eoi_token_index=tokenizer.eoi_token_id,
    )  # fmt: skip
    images = Gemma3ImageProcessor(size={"height": 64, "width": 64})
    processor = Gemma3Processor(images, tokenizer, image_seq_length=16)
    model = Gemma3ForConditionalGeneration(config)
    save(folder, model, processor, GEMMA_TEMPLATE, [1, tokenizer.convert_tokens_to_ids("<end_of_turn>")])


def save(folder: Path, model: Any, processor: Any, template: str, stops: list[int] | None = None) -> None:
    """Gives the weights a spread that makes a random model's answers depend on what it reads, and saves."""
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.normal_(0.0, 1.5 / parameter.shape[-1] ** 0.5)
    model.generation_config.eos_token_id = stops or processor.tokenizer.eos_token_id
    processor.chat_template = template
    model.save_pretrained(folder)
    processor.save_pretrained(folder)


BUILDERS: dict[str, Callable[[Path], None]] = {
    "nano": build_nano,
    "smol": build_smol,
    "qwen": build_qwen,
    "qwen3": build_qwen3,
    "gemma": build_gemma,
}
