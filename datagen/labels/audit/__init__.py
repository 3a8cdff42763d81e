"""An audit of a run: how far its judges agree, what predicts its labels that should not, what its splits share.

Nothing here needs a label that is known to be right; where nothing can be said, it says so instead of a number.
"""
