"""MEASURES: figures of heads on labelled folders. Fits through `training`; nothing here decides about a part."""
