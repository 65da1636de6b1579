"""The companion's GPT with a key-value cache, working: in `llms_from_scratch` 1.0.19 its two modules do not fit."""
