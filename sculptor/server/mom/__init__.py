"""The ``mom`` backend: the small language model of our own, served in this process.

A request is read into tokens (`asking`), written by the engine in a thread of its own (`streams`),
and turned back into the wire's deltas (`answering`). The backend knows chat completions, schemas
and tokens; what to say, which tool to call and with which arguments is the model's own choice.
"""
