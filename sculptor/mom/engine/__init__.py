"""What runs a model turn by turn, each part with one task.

`weights` reads and writes shards; `cpu` is the runtime that ships, numpy alone, and `torch_model`
the same one over torch; `sampling` chooses tokens, `turns` keeps moments, `batch` writes several
conversations together and `scheduler` gives that a thread. `engine` and `graph` run one
conversation, or one step as a CUDA graph, over torch for training and research.
"""
