"""Tasks, data, training and measurement: what makes a model, and what it is worth."""
