"""Active context management for language models: reversible edits of what a model is shown."""
