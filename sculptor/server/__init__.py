"""The proxy: an OpenAI-compatible server in front of any OpenAI-compatible upstream."""
