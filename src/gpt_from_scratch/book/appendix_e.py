"""Appendix E: low-rank adaptation."""

from gpt_from_scratch.model.lora import LinearWithLoRA, LoRALayer, replace_linear_with_lora

__all__ = ["LinearWithLoRA", "LoRALayer", "replace_linear_with_lora"]
