"""Our own sampling over the parts of a diffusers pipeline: U-Net, scheduler, VAE, text encoders.

What comes out is what Stable Diffusion's stock pipelines make of the same noise, texts and settings. Texts are read
once, all batches have one shape, and nothing waits for a GPU within a batch.
"""
