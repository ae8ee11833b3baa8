"""PI-LLM: how much earlier, similar, now-wrong values disturb the recall of the last one.

Paper: arXiv 2506.08184; reference program: zhuangziGiantfish/Unable-to-Forget, commit 9b0b2cd.
"""
