"""The edges of the road: they make ports of brokers and folders, and translate the errors of client libraries.

A connector decides nothing about parts. Each connector handles one broker or folder and uses no other connector.
"""
