"""A person ENROLS: one product, or all products of a mixed folder. Called by the command line, and by a console.

Nothing here prints or asks. Progress is a callback, and results are frozen values.
"""
