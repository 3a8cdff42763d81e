"""A GGUF file served on loopback by llama.cpp."""
