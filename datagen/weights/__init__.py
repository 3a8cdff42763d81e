"""The one door for weights: everything that is loaded, on both sides, is held against the file it comes from.

`parts` loads one network, `pipelines` a whole model, `adapters` and `clip` what their names say; `identity`
gives the digest that a model is known by, `hub` the folder of a model that has a name. Nothing is loaded that does not
fill its model: a ModelError says in one line which part, how many tensors and which ones. Safetensors only.
`published` looks where weights lie that users fetch for a judge.
"""
