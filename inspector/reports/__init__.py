"""Reports for people: one self-contained HTML file each, readable offline and fit to be mailed.

Reports don't depend on torch, SQL or brokers: callers pass figures and pictures, and the reports lay them out.
`page` is the shell and its style, `charts` draws curves as inline SVG, and `pictures` makes data URIs of images. Each
report is a module of its own with its template in `templates/`.
"""
