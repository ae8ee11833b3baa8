"""Functions over tensors: routing, convolution, the delta rules, mixing, the balance loss.

`naive` is the law: one token at a time, written as the equations are. Every faster form in this
folder is held against it, outputs and gradients. Nothing here knows a module.
"""
