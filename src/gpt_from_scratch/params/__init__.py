"""`params.yaml` as typed, validated objects; the profiles; the instruction pins."""
