"""The language of the shipped model: tokens, the form of a chat, and what may be written when.

Text becomes text tokens alone; only the template writes protocol tokens, so nothing a user or a
tool says can open a call or end a turn. Nothing here knows a task: decoding is held to the form of
a turn and to the JSON schemas that the request declares.
"""
