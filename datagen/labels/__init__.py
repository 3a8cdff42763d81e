"""Labels: from what judges say of two pictures to the probability that one is preferred, and how far judges agree."""
