"""The shell around a stage: DVC, git, signals, processes, checkpoints' folders."""
