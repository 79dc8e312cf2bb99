"""The web console: server-rendered pages over the store, for the people of a line.

It is a process of its own and never part of an agent's loop. It reads the store and the kept pictures; what takes
minutes is a row in `jobs` that `inspector worker` does. Texts stand in `texts`, forms of numbers and times in
`wording`. Everything that a person sends is checked in `access` before a page sees it.
"""
