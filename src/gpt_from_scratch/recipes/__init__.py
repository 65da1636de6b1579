"""The recipes: each puts the core's parts together to a training, or to the evaluation, without DVC and MLflow."""
