"""OpenAI's Batch API: half the price, hours to wait; a journal holds what was sent."""
