"""What MLflow runs to serve the registered models: its models from code, one file each, and the checks they share."""
