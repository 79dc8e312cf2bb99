"""The edges of the road: brokers and folders as ports, foreign errors translated, nothing else.

A connector decides nothing about parts. Each connector knows one broker or folder and no other connector.
"""
