"""MQTT 3.1.1 and 5: camera frames in, gate decisions and verdict records out, a broker for the demo.

`connection` is one MQTT connection on the event loop, `session` keeps one alive; everything else
stands on these two. Frames, gates and records use clients of their own: their promises differ.
"""
