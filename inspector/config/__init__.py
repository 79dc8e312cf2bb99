"""The configuration: sections and their keys, loading, rules between keys, messages, descriptions of keys."""
