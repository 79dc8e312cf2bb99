"""THE ROAD from frame to reject: pure rules here, joined to queues and adapters in `pipeline`."""
