"""A person's OPERATION of what is enrolled and recorded: versions, results, holds, the database, evaluations.

The command line calls these functions, and a console can call the same ones. They print nothing and ask nothing.
"""
