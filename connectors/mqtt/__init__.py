"""MQTT 3.1.1 and 5: camera frames in, gate decisions and verdict records out, a broker for the demo.

`connection` is one MQTT connection on the event loop, and `session` keeps a client connected. All other modules use
these two. Frames, gates and records each have their own client, because their guarantees differ.
"""
