"""Models from code, one file each, that MLflow runs to serve the registered models, and the checks they share."""
