"""THE ROAD from frame to reject. This folder holds the pure rules; `pipeline` joins them to queues and adapters."""
