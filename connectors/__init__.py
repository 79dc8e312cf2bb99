"""The edges of the road: brokers and folders as ports, foreign errors translated, nothing else.

A connector decides nothing about parts. Each knows one foreign world; siblings don't know each other.
"""
