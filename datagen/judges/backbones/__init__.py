"""Networks that several judges read embeddings of, one file a kind; `find` of each says where a model lies."""
