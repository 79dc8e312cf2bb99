"""The Kafka connection itself: clients, partitions and their commits, the producer, refusals."""
