"""Faster inference on a CPU. This is its door; PROXYCLIP_PLAIN=1 turns off all that is behind it.

speed_up(encoder)               once, when its weights are where they stay
with fast_products(device):     around every run of a network, on any device
with set_aside():               within one, around what has nothing to do with it
chosen_kernels()                what was chosen for this CPU, for records
prefers_bfloat16()              whether "auto" is bfloat16 on this CPU
keep_freed_memory()             for programs, not for libraries: it changes the whole process
"""

from proxyclip_core.cpu.kernels import chosen_kernels, prefers_bfloat16
from proxyclip_core.cpu.linear import speed_up
from proxyclip_core.cpu.memory import keep_freed_memory
from proxyclip_core.cpu.products import fast_products, set_aside

__all__ = ["chosen_kernels", "fast_products", "keep_freed_memory", "prefers_bfloat16", "set_aside", "speed_up"]
