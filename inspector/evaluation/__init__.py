"""MEASURES: figures of heads on labelled folders. Heads are fitted by `training`; nothing here decides about a part."""
