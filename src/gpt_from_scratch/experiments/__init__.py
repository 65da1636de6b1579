"""The companion's studies, declared in `experiments/*.yaml`: run over the pipeline, compared with published figures."""
