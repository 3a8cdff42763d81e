"""What calls cost and what they gave: the cache of replies, the ledger, prices and the budget."""
