"""The companion's studies: declared in `experiments/*.yaml`, run over the pipeline, set beside what is published."""
