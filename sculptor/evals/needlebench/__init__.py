"""NeedleBench v1 and v2: needles in a long document, and chains of kinship to be followed.

Paper: arXiv 2407.11963; reference program: open-compass/opencompass, commit a5acc4b.
"""
