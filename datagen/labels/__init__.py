"""Labels: from what judges say about two pictures to the probability that one is preferred."""
