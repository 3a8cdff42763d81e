"""What learns from preference pairs: one training program, one file a concern.

Reads Parquet only and imports nothing of `datagen`; whoever has pairs in our columns or Pick-a-Pic's can use it alone.
"""
