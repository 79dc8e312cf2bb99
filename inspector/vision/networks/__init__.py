"""Networks: the frozen backbone, its embeddings as exported graphs, SNC, the student network."""
