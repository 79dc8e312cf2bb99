"""A person's OPERATION of enrolled products and recorded results: versions, holds, the database, evaluations.

The command line calls these functions, and a console can call the same ones. They print nothing and ask nothing.
"""
